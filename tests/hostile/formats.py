"""The file formats that are mutated: intact samples of each, how they are damaged and how they are read."""

from __future__ import annotations

import json
import operator
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import fx

from bridges.cvm.load import load_cvm
from bridges.mxnet import bridge
from bridges.mxnet.params_file import write_params
from mrt_torch import Model
from mrt_torch.demo import load_digits
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage
from tests.bridges.mxnet.symbol_cases import LEGACY
from tests.hostile import layouts
from tests.hostile.byte_mutation import mutate_bytes
from tests.hostile.json_mutation import mutate_json
from tests.hostile.operator_zoo import SHAPE, in_dialect, zoo_params, zoo_symbol
from tests.hostile.params_mutation import mutate_params
from tests.mrt_torch.small_models import calibrated

SHARED_MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
SHARED_SHAPES = {"mtcnn_det1": (1, 3, 12, 12), "mnist_lenet": (1, 1, 28, 28), "cifar_resnet8": (1, 3, 32, 32),
                 "lffd_plate_small": (1, 3, 160, 160)}
EMPTY_FILE = 100  # bytes; parameter files below hold no tensor
MXNET_WORDS = ("null", "Convolution", "Activation", "SliceChannel", "_zeros", "_full", "Reshape", "Concat", "BatchNorm",
               "Pad", "Custom", "__shape__", "__precision__", "__scale__", "(1, 3, 8, 8)", "(0, 3, 8, 8)", "Pooling",
               "FullyConnected")
CVM_WORDS = ("null", "cvm_op", "conv2d", "cvm_clip", "cvm_right_shift", "cvm_lut", "take", "tile", "repeat", "reshape",
             "dense", "strided_slice", "[1, 1]", "[0, 0]", "list_int", "list_shape")
GRAPH_WORDS = ("aten.conv2d.default", "aten.split.Tensor", "aten.chunk.default", "aten.constant_pad_nd.default",
               "aten.sum.dim_IntList", "cvm.tile.default", "cvm.repeat.default", "cvm.cvm_lut.default", "getitem",
               "call_function", "get_attr", "placeholder", "output", "float64", "int32", "bool", "complex64", "integer",
               "source")


@dataclass(frozen=True)
class Sample:
    """An intact model.

    Attributes:
        name: what it is.
        files: content by file name.
        victim: the file that is mutated; the others stay intact.
        load: reads and imports the model from a folder with these files.
        weight: how often it is taken, relative to the others; large models are taken rarely.
    """

    name: str
    files: Mapping[str, bytes]
    victim: str
    load: Callable[[Path], Any]
    weight: float = 1.0

    @property
    def content(self) -> bytes:
        """The file that is mutated."""
        return self.files[self.victim]


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: for the table.
        samples: made when first asked for.
        mutate: damages the file of a sample, given another sample to splice with.
    """

    name: str
    make_samples: Callable[[], list[Sample]]
    mutate: Callable[[Sample, Random, Sample], bytes]
    _made: list[Sample] = field(default_factory=list, repr=False)

    @property
    def samples(self) -> list[Sample]:
        if not self._made:
            self._made.extend(self.make_samples())
        return self._made

    def draw(self, random: Random) -> tuple[Sample, bytes]:
        """A sample, and its file after mutations."""
        weights = [sample.weight for sample in self.samples]
        sample, other = random.choices(self.samples, weights, k=2)
        return sample, self.mutate(sample, random, other)


def _mutate_text(words: tuple[str, ...], sample: Sample, random: Random, other: Sample) -> bytes:
    if random.random() < 0.35:
        return mutate_bytes(sample.content, random, other.content)
    return mutate_json(sample.content.decode(), random, words).encode("utf-8", "surrogatepass")


def _mutate_arrays(layout: Callable, pack: Callable, sample: Sample, random: Random, other: Sample) -> bytes:
    taken_apart = _layout(layout, sample.content)
    if random.random() < 0.6:
        return mutate_bytes(sample.content, random, other.content, taken_apart.fields)
    return mutate_params(sample.content, random, taken_apart, pack)


@cache
def _layout(layout: Callable, content: bytes) -> layouts.Layout:
    return layout(content)


def _mutate_safetensors(sample: Sample, random: Random, other: Sample) -> bytes:
    if random.random() < 0.5:
        return mutate_bytes(sample.content, random, other.content, [(0, 8)])
    header, data = layouts.split_safetensors(sample.content)
    return layouts.join_safetensors(mutate_json(header, random, ("F32", "I32", "BOOL", "F8_E4M3", "dtype")), data)


def _mutate_extension(sample: Sample, random: Random, other: Sample) -> bytes:
    if random.random() < 0.3:
        return mutate_bytes(sample.content, random, other.content)
    return mutate_json(sample.content.decode(), random).encode("utf-8", "surrogatepass") + b"\n"


def _load_mxnet(shape: Any, folder: Path) -> fx.GraphModule:
    return bridge.load(str(folder / "x-symbol.json"), str(folder / "x-0000.params")).import_graph(shape)


def _load_own(folder: Path) -> fx.GraphModule:
    return Model.load(folder / "x.json", folder / "x.safetensors").module


def _load_deployed(folder: Path) -> fx.GraphModule:
    load_cvm(folder)
    return Model.load_cvm(folder).module


def _mxnet_models() -> list[tuple[str, bytes, bytes, Any, float]]:
    """Name, symbol, params, shape and weight of each pair of MXNet files."""
    digits = load_digits()
    symbol, params = digits.symbol_file.read_bytes(), digits.params_file.read_bytes()
    models = [("digits", symbol, params, (1, 1, 8, 8), 1.0)]
    models += [(f"digits as {version}", in_dialect(json.loads(symbol), version).encode(), params, (1, 1, 8, 8), 0.5)
               for version in (800, 904)]
    zoo = zoo_symbol()
    files = {version: layouts.mxnet_file(zoo_params(), version) for version in ("V2", "legacy", "V1", "V3")}
    for version, written in ((10901, "V2"), (10000, "V1"), (904, "V3"), (800, "legacy")):
        text = in_dialect(zoo, version).encode()
        models.append((f"operators as {version}, {written}", text, files[written], SHAPE, 2.0))
    zoo["nodes"][0]["attrs"] = {"__shape__": str(SHAPE)}
    models.append(("operators with a declared shape", json.dumps(zoo).encode(), files["V2"], None, 2.0))
    statistics = {name: zoo_params()["arg:dense_bias"] for name in
                  ("arg:bn_gamma", "arg:bn_beta", "aux:bn_moving_mean", "aux:bn_moving_var")}
    models.append(("0.8 without states", json.dumps(LEGACY).encode(), layouts.mxnet_file(statistics, "legacy"),
                   (1, 3, 2, 2), 2.0))
    with tempfile.TemporaryDirectory() as folder:
        calibrated().quantize().save(f"{folder}/x-symbol.json", f"{folder}/x-0000.params")
        models.append(("integer symbol", Path(folder, "x-symbol.json").read_bytes(),
                       Path(folder, "x-0000.params").read_bytes(), None, 2.0))
        types = {name: zoo_params()["arg:dense_bias"].astype(kind) for name, kind in
                 zip(statistics, ("f2", "i4", "i8", "f8"))}
        write_params(f"{folder}/y", types)
        models.append(("several types", json.dumps(LEGACY).encode(), Path(folder, "y").read_bytes(), (1, 3, 2, 2), 1.0))
    for name, shape in SHARED_SHAPES.items():
        if SHARED_MODELS.is_dir():
            models.append((name, (SHARED_MODELS / f"{name}-symbol.json").read_bytes(),
                           (SHARED_MODELS / f"{name}-0000.params").read_bytes(), shape, 0.1))
    return models


def _mxnet_samples(victim: str) -> list[Sample]:
    return [Sample(name, {"x-symbol.json": symbol, "x-0000.params": params}, victim, partial(_load_mxnet, shape),
                   weight)
            for name, symbol, params, shape, weight in _mxnet_models()]


def _branching() -> Model:
    """A float model with the operators that prepare removes: chunk, split and an item of each."""
    aten = torch.ops.aten
    editor = GraphEditor(empty_graph_module())
    x = editor.input("data", (2, 6, 4))
    parts = editor.call(aten.chunk.default, x, 2, 1, name="chunk")
    pieces = editor.call(aten.split.Tensor, x, 3, 1, name="pieces")
    first, second = (editor.call(operator.getitem, node, 1) for node in (parts, pieces))
    joined = editor.call(aten.cat.default, [first, second], 1, name="joined")
    padded = editor.call(aten.constant_pad_nd.default, joined, [1, 1], 0.5, name="padded")
    clamped = editor.call(aten.clamp.default, padded, float("-inf"), 6.0, name="clamped")
    editor.output([editor.call(aten.reshape.default, clamped, [-1, 36], name="row"), clamped])
    editor.module.recompile()
    return Model(editor.module, Stage.SOURCE)


def _joined() -> Model:
    """A quantized model whose two inputs prepare joined."""
    editor = GraphEditor(empty_graph_module())
    left, right = editor.input("left", (2, 3)), editor.input("right", (2, 3))
    editor.output([editor.call(torch.ops.aten.add.Tensor, left, right, name="sum")])
    editor.module.recompile()
    model = Model(editor.module, Stage.SOURCE)
    model.prepare()
    mrt = model.get_mrt()
    mrt.set_data(torch.linspace(-1, 1, 12).reshape(2, 6))
    mrt.calibrate(progress=False)
    return mrt.quantize()


def _own_samples(victim: str) -> list[Sample]:
    models = {"quantized, two heads": calibrated(2).quantize(), "prepared": calibrated().model,
              "captured": _branching(), "quantized, two inputs": _joined()}
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            model.save(f"{folder}/x.json", f"{folder}/x.safetensors")
            files = {file: Path(folder, file).read_bytes() for file in ("x.json", "x.safetensors")}
            if victim == "x.json" or len(files[victim]) > EMPTY_FILE:
                samples.append(Sample(name, files, victim, _load_own))
    return samples


def _deployed_samples(victim: str) -> list[Sample]:
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model in (("one head", calibrated().quantize()), ("two heads", calibrated(2).quantize()),
                            ("two inputs", _joined())):
            files = {path.name: path.read_bytes() for path in model.to_cvm("x", folder).iterdir()}
            if victim != "params" or len(files["params"]) > EMPTY_FILE:
                samples.append(Sample(name, files, victim, _load_deployed))
    return samples


FORMATS = (
    Format("MXNet symbol", partial(_mxnet_samples, "x-symbol.json"), partial(_mutate_text, MXNET_WORDS)),
    Format("MXNet params", partial(_mxnet_samples, "x-0000.params"),
           partial(_mutate_arrays, layouts.mxnet_layout, layouts.pack_mxnet)),
    Format("mrt_torch graph", partial(_own_samples, "x.json"), partial(_mutate_text, GRAPH_WORDS)),
    Format("safetensors", partial(_own_samples, "x.safetensors"), _mutate_safetensors),
    Format("CVM symbol", partial(_deployed_samples, "symbol"), partial(_mutate_text, CVM_WORDS)),
    Format("CVM params", partial(_deployed_samples, "params"),
           partial(_mutate_arrays, layouts.cvm_layout, layouts.pack_cvm)),
    Format("CVM ext", partial(_deployed_samples, "ext"), _mutate_extension),
)
