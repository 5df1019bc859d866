"""Transformers and classifiers of words, from their source to integers.

Oracles: MXNet or the torch module in float; for integers the deployed files, MXNet in float64 and the real runtime.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mrt_torch import MRT, Model, load_real_data
from tests.bridges.mxnet.oracle import random_arrays, run_mxnet
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, follow
from tests.end_to_end.models import as_tuple

LENGTH, UNITS, HEADS, HIDDEN, ROWS = 10, 16, 4, 32, 3
WORDS, VOCABULARY, CLASSES = 38, 500, 6  # of TREC: questions of 38 words, six kinds


def cosine(seen, expected) -> float:
    first, second = (np.asarray(value, dtype=np.float64).ravel() for value in (seen, expected))
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def _dense(sym, x, units, name):
    return sym.FullyConnected(x, num_hidden=units, flatten=False, name=name)


def encoder(sym, x, mask=None):
    """An encoder block as gluonnlp exports it: (N, T, C); ``mask`` (1, T, T) excludes where it is 0."""
    def project(name):
        split = sym.reshape(_dense(sym, x, UNITS, name), shape=(0, 0, HEADS, -1))
        return sym.reshape(sym.transpose(split, axes=(0, 2, 1, 3)), shape=(-1, 0, 0), reverse=True)
    scores = sym.batch_dot(sym.contrib.div_sqrt_dim(project("query")), project("key"), transpose_b=True)
    if mask is not None:
        scores = sym.broadcast_add(scores, (1 - mask) * -1e18)
    heads = sym.reshape(sym.batch_dot(sym.softmax(scores, axis=-1), project("value")), shape=(-1, HEADS, 0, 0),
                        reverse=True)
    context = sym.reshape(sym.transpose(heads, axes=(0, 2, 1, 3)), shape=(0, 0, -1))
    attended = sym.LayerNorm(x + _dense(sym, context, UNITS, "proj"), name="norm1")
    inner = sym.LeakyReLU(_dense(sym, attended, HIDDEN, "ffn1"), act_type="gelu")
    return sym.LayerNorm(attended + _dense(sym, inner, UNITS, "ffn2"), name="norm2")


def interleaved(sym, x):
    """Self-attention as gluonnlp's BERT has it: (T, N, 3C), the batch on axis 1."""
    scores = sym.contrib.interleaved_matmul_selfatt_qk(x, heads=HEADS)
    context = sym.contrib.interleaved_matmul_selfatt_valatt(x, sym.softmax(scores), heads=HEADS)
    return _dense(sym, context, UNITS, "proj")


def arrays_of(mx, symbol, shapes, seed=3):
    """Random parameters, weights of the size that training starts from, gains about 1."""
    arrays = random_arrays(mx, symbol, shapes, seed)
    for name, array in arrays.items():
        if name.endswith("weight"):
            arrays[name] = (array / np.sqrt(array.shape[-1])).astype(np.float32)
        elif name.endswith("gamma"):
            arrays[name] = (1 + 0.1 * array).astype(np.float32)
    return arrays


def followed_encoder(mx, folder, masked: bool) -> tuple[Followed, np.ndarray]:
    mask = mx.sym.var("mask", shape=(1, LENGTH, LENGTH)) if masked else None
    symbol = encoder(mx.sym, mx.sym.var("data"), mask)
    arrays = arrays_of(mx, symbol, {"data": (ROWS, LENGTH, UNITS)})
    if masked:
        arrays["mask"] = np.tril(np.ones((1, LENGTH, LENGTH), np.float32))
    params = {name: array for name, array in arrays.items() if name != "data"}
    expected = run_mxnet(mx, symbol, arrays)[0]
    data = torch.from_numpy(arrays["data"])
    return follow(Model.load(symbol, params), {"data": tuple(data.shape)}, data, folder), expected


@pytest.mark.parametrize("masked", [False, True])
def test_an_encoder_block_of_mxnet(mxnet, masked, tmp_path):
    followed, expected = followed_encoder(mxnet, tmp_path, masked)
    assert np.abs(followed.model(followed.data).numpy() - expected).max() < 1e-5 * np.abs(expected).max()
    assert cosine(followed.quantized(followed.data), expected) > 0.999
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("masked", [False, True])
def test_the_runtime_computes_an_encoder_block(mxnet, masked, tmp_path):
    check_runtime(followed_encoder(mxnet, tmp_path, masked)[0])


def test_attention_with_the_batch_on_axis_1(mxnet, tmp_path):
    """prepare((T, -1, 3C)): deployed for another batch than it was calibrated with."""
    symbol = interleaved(mxnet.sym, mxnet.sym.var("data"))
    arrays = arrays_of(mxnet, symbol, {"data": (LENGTH, ROWS, 3 * UNITS)})
    expected, data = run_mxnet(mxnet, symbol, arrays)[0], torch.from_numpy(arrays.pop("data"))
    followed = followed_at(Model.load(symbol, arrays), (LENGTH, -1, 3 * UNITS), data, tmp_path)
    assert cosine(followed.quantized(data), expected) > 0.999
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


def followed_at(model: Model, shape, data: torch.Tensor, folder) -> Followed:
    """Calibrated with all of ``data``, deployed for one sample on axis 1."""
    model.prepare(shape)
    mrt: MRT = model.get_mrt()
    mrt.set_data(data)
    mrt.calibrate()
    mrt.set_input_prec(12)
    quantized, sample = mrt.quantize(), data[:, :1]
    deployed = quantized.to_cvm("model", folder, input_shape=tuple(sample.shape))
    return Followed(model, mrt, quantized, sample, load_real_data(sample, "data", mrt.get_inputs_ext()), deployed)


CLASSIFIERS = {
    "mean": lambda sym, rows: sym.mean(rows, axis=0),
    "largest": lambda sym, rows: sym.max(_dense(sym, rows, 12, "hidden"), axis=0),
    "convolution": lambda sym, rows: sym.max(sym.relu(sym.Convolution(
        sym.transpose(rows, axes=(1, 2, 0)), kernel=(3,), num_filter=8, name="conv")), axis=2),
    "all words": lambda sym, rows: sym.reshape(sym.transpose(rows, axes=(1, 0, 2)), shape=(0, -1)),
}


def followed_classifier(mx, name, folder) -> tuple[Followed, torch.Tensor, np.ndarray]:
    rows = mx.sym.Embedding(mx.sym.var("data"), mx.sym.var("words_weight"), input_dim=VOCABULARY, output_dim=20)
    symbol = mx.sym.FullyConnected(CLASSIFIERS[name](mx.sym, rows), num_hidden=CLASSES, name="out")
    arrays = arrays_of(mx, symbol, {"data": (WORDS, 16)})
    arrays["data"] = np.random.default_rng(0).integers(0, VOCABULARY, (WORDS, 16)).astype(np.float32)
    expected, data = run_mxnet(mx, symbol, arrays)[0], torch.from_numpy(arrays.pop("data"))
    return followed_at(Model.load(symbol, arrays), (WORDS, -1), data, folder), data, expected


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_of_words(mxnet, name, tmp_path):
    """The TREC shape: (38, N) word numbers, the batch on axis 1, deployed as (38, 1)."""
    followed, data, expected = followed_classifier(mxnet, name, tmp_path)
    assert followed.mrt.get_inputs_ext() == {"data": {"scale": 1.0, "target_bit": 10}}
    assert np.abs(followed.model(data).numpy() - expected).max() < 1e-5 * np.abs(expected).max()
    assert cosine(followed.quantized(data), expected) > 0.999
    assert followed.operators()[0] == "take"
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_runtime_computes_a_classifier(mxnet, name, tmp_path):
    check_runtime(followed_classifier(mxnet, name, tmp_path)[0])


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32, torch.float64])
def test_word_numbers_of_any_type(mxnet, dtype, tmp_path):
    """For a float input of MXNet and an int64 one of torch alike. Oracle: the thresholds and integers of int64."""
    module = nn.Sequential(nn.Embedding(50, 8), nn.Flatten(), nn.Linear(40, 3)).eval()
    ids = torch.randint(0, 50, (4, 5), generator=torch.Generator().manual_seed(0))
    results = []
    for kind in (torch.int64, dtype):
        model = Model.from_torch(module, ids[:1])
        model.prepare()
        mrt = model.get_mrt()
        mrt.set_data([(ids.to(kind), 0), ids.to(kind).numpy()])
        thresholds = mrt.calibrate()
        quantized = mrt.quantize()
        integers = load_real_data(ids.to(kind), "data", mrt.get_inputs_ext())
        assert torch.equal(integers, ids.int())
        results.append((thresholds, quantized(ids.to(kind)), model(ids.to(kind))))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1]) and torch.equal(results[0][2], results[1][2])


def layer(**options) -> nn.Module:
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(UNITS, HEADS, HIDDEN, batch_first=True, **options).eval()


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_encoder_layer_of_torch(norm_first, activation, tmp_path):
    module, data = layer(norm_first=norm_first, activation=activation), torch.randn(ROWS, LENGTH, UNITS)
    with torch.no_grad():
        expected = module(data)
    followed = follow(Model.from_torch(module, data[:1]), None, data, tmp_path)
    assert cosine(followed.quantized(data), expected) > 0.999
    check_deployed(followed)


class Classifier(nn.Module):
    """Word numbers, positions, an encoder layer that ignores padding, and the mean of what is left."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.words, self.places = nn.Embedding(VOCABULARY, UNITS), nn.Parameter(torch.randn(LENGTH, UNITS))
        self.encoder, self.out = layer(), nn.Linear(UNITS, CLASSES)

    def forward(self, ids):
        padding = ids == 0
        hidden = self.encoder(self.words(ids) + self.places, src_key_padding_mask=padding)
        return self.out(hidden.masked_fill(padding[:, :, None], 0.0).sum(1))


def followed_torch_classifier(folder) -> tuple[Followed, torch.Tensor]:
    module = Classifier().eval()
    ids = torch.randint(1, VOCABULARY, (8, LENGTH), generator=torch.Generator().manual_seed(0))
    for row in range(8):
        ids[row, 3 + row:] = 0
    with torch.no_grad():
        expected = module(ids)
    return follow(Model.from_torch(module, ids[:1]), None, ids, folder), expected


def test_a_classifier_of_torch_with_padding(mxnet, tmp_path):
    """An input that indexes a table and is compared with a number."""
    followed, expected = followed_torch_classifier(tmp_path)
    assert followed.mrt.get_inputs_ext()["data"]["scale"] == 1.0
    assert cosine(followed.quantized(followed.data), expected) > 0.995
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
def test_the_runtime_computes_torch_models(tmp_path):
    check_runtime(followed_torch_classifier(tmp_path)[0])


def bert(mx, lengths: bool):
    """gluonnlp's BERT, two layers of 16 units, with seeded weights."""
    model = pytest.importorskip("gluonnlp.model.bert", reason="needs gluonnlp, whose BERT this is")
    mx.random.seed(0)
    layers = model.BERTEncoder(num_layers=2, units=UNITS, hidden_size=HIDDEN, max_length=12, num_heads=HEADS,
                               dropout=0.1)
    network = model.BERTModel(layers, vocab_size=50, token_type_vocab_size=2, units=UNITS, embed_size=UNITS,
                              use_decoder=False, use_classifier=False)
    network.initialize(mx.init.Normal(0.3))
    draw = np.random.default_rng(0)
    arrays = {"words": draw.integers(0, 50, (ROWS, LENGTH)).astype(np.float32),
              "types": draw.integers(0, 2, (ROWS, LENGTH)).astype(np.float32)}
    if lengths:
        arrays["lengths"] = np.array([10, 6, 3], np.float32)
    symbol = mx.sym.Group(list(network(*map(mx.sym.var, arrays))))
    expected = [output.asnumpy() for output in network(*(mx.nd.array(array) for array in arrays.values()))]
    params = {name: value.data().asnumpy() for name, value in network.collect_params().items()}
    return Model.load(symbol, {name: params[name] for name in symbol.list_inputs() if name in params}), arrays, expected


@pytest.mark.parametrize("lengths", [False, True])
def test_bert_of_gluonnlp(mxnet, lengths, tmp_path):
    """Token and type numbers, and the lengths of the sequences, which mask the softmax."""
    model, arrays, expected = bert(mxnet, lengths)
    followed = follow(model, {name: array.shape for name, array in arrays.items()}, arrays, tmp_path)
    for seen, output in zip(as_tuple(followed.model(followed.data)), expected, strict=True):
        assert np.abs(seen.numpy() - output).max() < 1e-5 * np.abs(output).max()
    for seen, output in zip(as_tuple(followed.quantized(followed.data)), expected, strict=True):
        assert cosine(seen, output) > 0.99
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@pytest.mark.cvm_runtime
def test_the_runtime_computes_bert(mxnet, tmp_path):
    model, arrays, _ = bert(mxnet, True)
    check_runtime(follow(model, {name: array.shape for name, array in arrays.items()}, arrays, tmp_path))
