"""Detectors with heads like those of gluoncv's SSD and YOLOv3, built with ``mx.sym``: whole, and split at keys.

Oracles: MXNet for imports; the float model for integers; the integer graph for deployed files and the real runtime.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bridges.mxnet import bridge
from mrt_torch import Model, ModelMerger
from mrt_torch.errors import UnsupportedOperatorError
from tests.bridges.mxnet.oracle import check_close, run_mxnet
from tests.end_to_end.following import Followed, check_deployed, check_mxnet, check_runtime, follow
from tests.end_to_end.models import as_tuple

CLASSES, SIZE, ANCHORS = 3, 16, 2
SHAPE = (1, 3, SIZE, SIZE)


@dataclass(frozen=True)
class Detector:
    """A symbol of ids, scores and boxes, its parameters, and where to split it."""

    symbol: object
    params: dict[str, np.ndarray]
    keys: tuple[str, ...]

    def save(self, mx, folder: Path) -> tuple[str, str]:
        paths = str(folder / "m-symbol.json"), str(folder / "m-0000.params")
        self.symbol.save(paths[0])
        mx.nd.save(paths[1], {f"arg:{name}": mx.nd.array(array) for name, array in self.params.items()})
        return paths


def _features(sym) -> list:
    """Feature maps (N, 8, 8, 8) and (N, 8, 4, 4)."""
    def layer(x, name):
        return sym.LeakyReLU(sym.Convolution(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=8, name=name),
                             act_type="leaky", slope=0.1)
    first = layer(sym.var("data"), "c0")
    return [first, layer(first, "c1")]


def _outputs(mx, rows, **attributes):
    """ids, scores and boxes of the best 10 rows."""
    kept = mx.sym.contrib.box_nms(rows, **{**dict(overlap_thresh=0.45, valid_thresh=0.01, topk=40, id_index=0,
                                                  score_index=1, coord_start=2, name="nms"), **attributes})
    kept = mx.sym.slice_axis(kept, axis=1, begin=0, end=10)
    columns = ((0, 1), (1, 2), (2, 6))
    return mx.sym.Group([mx.sym.slice_axis(kept, axis=2, begin=begin, end=end) for begin, end in columns])


def ssd(mx, **attributes) -> Detector:
    """Anchors cropped to the feature maps, softmax over the classes, boxes decoded, one suppression for each class."""
    sym, params = mx.sym, {}
    classes, boxes, anchors = [], [], []
    for scale, feature in enumerate(_features(sym)):
        for kind, found, filters in (("class", classes, ANCHORS * (CLASSES + 1)), ("box", boxes, ANCHORS * 4)):
            x = sym.Convolution(feature, kernel=(3, 3), pad=(1, 1), num_filter=filters, name=f"{kind}{scale}")
            found.append(sym.flatten(sym.transpose(x, axes=(0, 2, 3, 1))))
        cropped = sym.slice_like(sym.var(f"anchors{scale}"), feature * 0, axes=(2, 3))
        anchors.append(sym.reshape(sym.reshape(cropped, shape=(1, -1, 4)), shape=(1, -1)))
        params[f"anchors{scale}"] = _anchors(SIZE // 2 >> scale, 2 << scale)
    probabilities = sym.softmax(sym.reshape(sym.concat(*classes, dim=1), shape=(0, -1, CLASSES + 1)), axis=-1,
                                name="probabilities")
    offsets = sym.reshape(sym.concat(*boxes, dim=1), shape=(0, -1, 4), name="offsets")
    decoded = sym.contrib.box_decode(offsets, sym.reshape(sym.concat(*anchors, dim=1), shape=(1, -1, 4)), 0.1, 0.1, 0.2,
                                     0.2, format="center", name="decoded")
    scores = sym.slice_axis(probabilities, axis=-1, begin=1, end=None)
    ids = sym.broadcast_add(scores * 0, sym.reshape(sym.arange(CLASSES), shape=(1, 1, CLASSES)))
    valid = scores > 0.01
    ids = sym.where(valid, ids, sym.ones_like(ids) * -1)
    scores = sym.where(valid, scores, sym.zeros_like(scores))
    parts = [sym.concat(sym.slice_axis(ids, axis=-1, begin=label, end=label + 1),
                        sym.slice_axis(scores, axis=-1, begin=label, end=label + 1), decoded, dim=-1)
             for label in range(CLASSES)]
    symbol = _outputs(mx, sym.concat(*parts, dim=1), **attributes)
    return Detector(symbol, {**params, **_weights(symbol, params)}, ("probabilities", "offsets"))


def _anchors(extent: int, step: int) -> np.ndarray:
    """Centers and sizes (1, 1, extent + 2, extent + 2, 4 * ANCHORS): more than the feature map needs."""
    centers = (np.stack(np.meshgrid(*[np.arange(extent + 2)] * 2), -1) + 0.5) * step
    found = [np.concatenate([centers, np.full_like(centers, size * step)], -1) for size in (1.5, 2.5)]
    return np.concatenate(found, -1)[None, None].astype(np.float32)


def yolo(mx, **attributes) -> Detector:
    """Centers by sigmoid, sizes by exp, confidences and classes by sigmoid; every class of every box is a row."""
    sym, params, detections, keys = mx.sym, {}, [], []
    for scale, feature in enumerate(_features(sym)):
        extent, width = SIZE // 2 >> scale, 5 + CLASSES
        x = sym.Convolution(feature, kernel=(1, 1), num_filter=ANCHORS * width, name=f"prediction{scale}")
        x = sym.transpose(sym.reshape(x, shape=(0, ANCHORS * width, -1)), axes=(0, 2, 1))
        x = sym.reshape(x, shape=(0, -1, ANCHORS, width))
        centers, sizes, confidence, classes = (sym.slice_axis(x, axis=-1, begin=begin, end=end)
                                               for begin, end in ((0, 2), (2, 4), (4, 5), (5, None)))
        cropped = sym.slice_like(sym.var(f"grid{scale}"), feature * 0, axes=(2, 3))
        cropped = sym.reshape(cropped, shape=(1, -1, 1, 2))
        params[f"grid{scale}"] = np.stack(np.meshgrid(*[np.arange(extent + 3)] * 2), -1)[None, None].astype(np.float32)
        params[f"sizes{scale}"] = np.float32([[4, 6], [7, 3]]).reshape(1, 1, ANCHORS, 2) * (scale + 1)
        centers = sym.broadcast_add(sym.sigmoid(centers), cropped) * (2 << scale)
        half = sym.broadcast_mul(sym.exp(sizes), sym.var(f"sizes{scale}")) / 2.0
        boxes = sym.concat(centers - half, centers + half, dim=-1, name=f"boxes{scale}")
        scores = sym.broadcast_mul(sym.sigmoid(classes), sym.sigmoid(confidence), name=f"scores{scale}")
        boxes = sym.tile(boxes, reps=(CLASSES, 1, 1, 1, 1))
        scores = sym.expand_dims(sym.transpose(scores, axes=(3, 0, 1, 2)), axis=-1)
        ids = sym.broadcast_add(scores * 0, sym.reshape(sym.arange(0, CLASSES), shape=(0, 1, 1, 1, 1)))
        rows = sym.transpose(sym.concat(ids, scores, boxes, dim=-1), axes=(1, 0, 2, 3, 4))
        detections.append(sym.reshape(rows, shape=(0, -1, 6)))
        keys += [f"boxes{scale}", f"scores{scale}"]
    symbol = _outputs(mx, sym.concat(*detections, dim=1), **attributes)
    return Detector(symbol, {**params, **_weights(symbol, params)}, tuple(keys))


def _weights(symbol, constants) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    known = {name: array.shape for name, array in constants.items()}
    shapes, _, _ = symbol.infer_shape(data=SHAPE, **known)
    return {name: (random.standard_normal(shape) / np.sqrt(max(np.prod(shape[1:]), 4))).astype(np.float32)
            for name, shape in zip(symbol.list_arguments(), shapes) if name != "data" and name not in constants}


DETECTORS = {"ssd": ssd, "yolo": yolo}
both = pytest.mark.parametrize("name", DETECTORS)


def pictures(batch: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, *SHAPE[1:], generator=torch.Generator().manual_seed(seed))


def base_of(mx, name: str, folder: Path) -> tuple[Followed, Model]:
    """The quantized lower half, calibrated on three pictures, and the float upper half."""
    detector = DETECTORS[name](mx)
    base, top = Model.load(*detector.save(mx, folder)).split(detector.keys, SHAPE)
    return follow(base, SHAPE, pictures(3), folder, input_precision=8), top


@both
def test_import_equals_mxnet(mxnet, tmp_path, name):
    """Also at another batch than it was imported for."""
    detector = DETECTORS[name](mxnet)
    module = bridge.load(*detector.save(mxnet, tmp_path)).import_graph(SHAPE)
    for batch in (1, 3):
        data = pictures(batch, seed=batch)
        expected = run_mxnet(mxnet, detector.symbol, {**detector.params, "data": data.numpy()})
        assert any((output != -1).all() for output in expected)
        check_close(module(data), expected)


@both
@pytest.mark.parametrize("prepared", [False, True])
def test_float_export_equals_mxnet(mxnet, tmp_path, name, prepared):
    """The files written from the import, and from what prepare made of it, in MXNet again; and our own files."""
    detector = DETECTORS[name](mxnet)
    model = Model.load(*detector.save(mxnet, tmp_path))
    model = model.split(["nms"], SHAPE)[0] if not prepared else model
    if prepared:
        model.prepare(SHAPE)
    data = pictures(3)
    expected = [output.numpy() for output in as_tuple(model(data))]
    paths = tmp_path / "out-symbol.json", tmp_path / "out-0000.params"
    model.save(*paths)
    arrays = {name.split(":")[1]: array.asnumpy() for name, array in mxnet.nd.load(str(paths[1])).items()}
    outputs = run_mxnet(mxnet, mxnet.sym.load(str(paths[0])), {**arrays, "data": data.numpy()})
    check_close([torch.from_numpy(output) for output in outputs], expected)
    own = tmp_path / "m.json", tmp_path / "m.safetensors"
    model.save(*own)
    check_close(as_tuple(Model.load(*own)(data)), expected, tolerance=0)


@both
def test_base_is_quantized_and_deployed(mxnet, tmp_path, name):
    """Cosine of every output to the float base; the files hold the same integers."""
    followed, _ = base_of(mxnet, name, tmp_path)
    for seen, expected in zip(as_tuple(followed.quantized(followed.data)), as_tuple(followed.model(followed.data))):
        assert torch.cosine_similarity(seen.flatten(), expected.flatten(), 0) > 0.999
    check_deployed(followed)


@both
@pytest.mark.cvm_runtime
def test_base_runs_on_the_runtime(mxnet, tmp_path, name):
    check_runtime(base_of(mxnet, name, tmp_path)[0])


@both
@pytest.mark.parametrize("merged", [ModelMerger.merge, ModelMerger.merge_integers])
def test_halves_are_merged_again(mxnet, tmp_path, name, merged):
    """The integer base under the top, in floats or in integers, detects what the float model does: the best box of
    each picture.

    Bound of its corners: 2.5 % of the picture. The network has three pictures of calibration, and candidates that
    overlap and whose scores are all but equal: the one that suppresses the others may be the next one.
    """
    followed, top = base_of(mxnet, name, tmp_path)
    merger = Model.merger(followed.quantized, top, followed.mrt.get_maps())
    labels, scores, boxes = merged(merger)(followed.data)
    expected = [torch.from_numpy(output) for output in _float_outputs(mxnet, name, followed.data)]
    assert torch.equal(labels[:, 0], expected[0][:, 0])
    assert float((scores[:, 0] - expected[1][:, 0]).abs().max()) < 0.02
    assert float((boxes[:, 0] - expected[2][:, 0]).abs().max()) < 0.4  # of a picture of 16 pixels


def merged_integers(mx, name: str, folder: Path) -> Followed:
    """The merged integer model, deployed."""
    followed, top = base_of(mx, name, folder)
    merged = Model.merger(followed.quantized, top, followed.mrt.get_maps()).merge_integers()
    deployed = merged.to_cvm("merged", folder, input_shape=tuple(followed.data.shape))
    return replace(followed, quantized=merged, folder=deployed)


@both
def test_merged_integers_are_deployed(mxnet, tmp_path, name):
    """The deployed files, and MXNet, give the integers of the graph; classes are whole."""
    followed = merged_integers(mxnet, name, tmp_path)
    assert followed.quantized.record.output_scales[0] == 1.0
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@both
@pytest.mark.cvm_runtime
def test_merged_integers_run_on_the_runtime(mxnet, tmp_path, name):
    check_runtime(merged_integers(mxnet, name, tmp_path))


def _float_outputs(mx, name: str, data: torch.Tensor) -> list[np.ndarray]:
    detector = DETECTORS[name](mx)
    return run_mxnet(mx, detector.symbol, {**detector.params, "data": data.numpy()})


def whole(mx, name: str, folder: Path) -> Followed:
    """The whole detector in integers, at batch 2."""
    model = Model.load(*DETECTORS[name](mx).save(mx, folder))
    return follow(model, SHAPE, pictures(2), folder, input_precision=8)


@both
def test_whole_detector_in_integers(mxnet, tmp_path, name):
    """Scores, classes and coordinates have scales of their own: classes are exact, and -1 stays -1.

    Bounds of the best box of each picture: a score within 0.01, corners within 1.5 % of the picture of 16 pixels.
    """
    followed = whole(mxnet, name, tmp_path)
    labels, scores, boxes = followed.quantized(followed.data)
    expected = [torch.from_numpy(output) for output in _float_outputs(mxnet, name, followed.data)]
    assert followed.quantized.record.output_scales[0] == 1.0
    assert torch.equal(labels[:, 0], expected[0][:, 0])
    assert float((scores[:, 0] - expected[1][:, 0]).abs().max()) < 0.01
    assert float((boxes[:, 0] - expected[2][:, 0]).abs().max()) < 0.25
    assert torch.equal(labels, labels.round())
    check_deployed(followed)
    check_mxnet(followed, tmp_path)


@both
@pytest.mark.cvm_runtime
def test_whole_detector_runs_on_the_runtime(mxnet, tmp_path, name):
    check_runtime(whole(mxnet, name, tmp_path))


@both
def test_a_suppression_that_the_runtime_cannot_do_is_refused_by_name(mxnet, tmp_path, name):
    """It alone is refused, with the advice; split before it, the rest is quantized."""
    paths = DETECTORS[name](mxnet, background_id=1).save(mxnet, tmp_path)
    with pytest.raises(UnsupportedOperatorError, match="split the model before") as caught:
        Model.load(*paths).prepare(SHAPE)
    assert "node 'nms' (_contrib_box_nms)" in str(caught.value)
    assert len(str(caught.value.why).splitlines()) == 1
