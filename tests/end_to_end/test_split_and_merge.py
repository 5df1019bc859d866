"""SSD and YOLOv3 of gluoncv, seeded, split at the keys of the original's configurations, quantized and merged again.

This gluoncv decodes SSD's boxes by one operator: its node ``box_decode0`` stands where the configurations name
``concat0``. All other names are theirs. Pictures are of 128 and 64 pixels here, so that the tests stay quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bridges.mxnet.execute import run_symbol
from mrt_torch import MRT, Model, load_real_data
from mrt_torch.merger import ModelMerger
from tests.benchmarks.gluoncv_export import pictures
from tests.bridges.mxnet.oracle import run_mxnet
from tests.end_to_end.detectors import CALIBRATION, CASES, Case, overlap
from tests.end_to_end.following import Followed, check_deployed, check_runtime

SHOWN = 1


@dataclass(frozen=True)
class Halves:
    """A quantized base and a float top, the merged models of either kind, and the whole float model."""

    whole: Model
    mrt: MRT
    merger: ModelMerger
    integers: Model
    floats: Model
    data: torch.Tensor


@pytest.fixture(scope="module")
def halves(gluoncv_files):
    """The halves of a case by its name; made once."""
    return partial(_halves_of, {}, gluoncv_files)


def _halves_of(made: dict[str, Halves], gluoncv_files, name: str) -> Halves:
    if name not in made:
        made[name] = make_halves(CASES[name], *gluoncv_files(CASES[name].network, CASES[name].size))
    return made[name]


def make_halves(case: Case, *files: str) -> Halves:
    shape = (1, 3, case.size, case.size)
    model = Model.load(*files)
    base, top = model.split(case.keys, shape)
    base.prepare(shape)
    mrt = base.get_mrt()
    mrt.set_data(torch.from_numpy(pictures(CALIBRATION, case.size, seed=1)))
    mrt.calibrate(progress=False)
    if case.output_precision is not None:
        mrt.set_output_prec(case.output_precision)
    merger = Model.merger(mrt.quantize(), top, mrt.get_maps())
    return Halves(model.with_input_shape(shape), mrt, merger,
                  merger.merge_integers(case.attribute_deps, case.oscale_maps), merger.merge(),
                  torch.from_numpy(pictures(SHOWN, case.size, seed=2)))


def followed(halves: Halves, folder: Path) -> Followed:
    integers = load_real_data(halves.data, "data", halves.mrt.get_inputs_ext())
    deployed = halves.integers.to_cvm("model", folder, input_shape=tuple(halves.data.shape))
    return Followed(halves.integers, halves.mrt, halves.integers, halves.data, integers, deployed)


@pytest.mark.parametrize("name", CASES)
def test_the_base_keeps_its_integers(halves, name):
    """Oracle: the base by itself. Its outputs are found in the merged graph by their names."""
    found = halves(name)
    integers = load_real_data(found.data, "data", found.mrt.get_inputs_ext())
    base = found.merger.base.to_graph()
    names = [node.name for node in next(node for node in base.graph.nodes if node.op == "output").args[0]]
    probe = found.integers.to_graph()
    by_name = {node.name: node for node in probe.graph.nodes}
    next(node for node in probe.graph.nodes if node.op == "output").args = (tuple(by_name[n] for n in names),)
    probe.recompile()
    assert all(torch.equal(*pair) for pair in zip(probe(integers), base(integers), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_integers_detect_what_the_float_top_detects(halves, name):
    """Oracle: the float top on the same integers of the base. Classes, and the order of the rows, are the same.

    SSD: as near as float32 comes, because scores and boxes keep the base's integers. YOLOv3: two heads of three are
    brought to the scale of the other, within 1.5 * 2**-14 of the largest score, 1, and of the largest coordinate.
    """
    found = halves(name)
    (ids, scores, boxes), (wanted_ids, wanted_scores, wanted_boxes) = (
        model(found.data) for model in (found.integers, found.floats))
    assert found.integers.record.output_scales[0] == 1.0
    assert torch.equal(ids, wanted_ids)
    share = 1.5 * 2.0 ** -14 if name.startswith("yolo") else 1e-6
    assert float((scores - wanted_scores).abs().max()) <= share
    assert float((boxes - wanted_boxes).abs().max()) <= share * float(wanted_boxes.abs().max())


@pytest.mark.parametrize("name", CASES)
def test_mxnet_computes_the_same_integers(halves, tmp_path, name):
    """Oracle: MXNet's float64 execution of the exported symbol, suppression included: exactly equal."""
    follow = followed(halves(name), tmp_path)
    check_deployed(follow)
    paths = tmp_path / "q-symbol.json", tmp_path / "q-0000.params"
    follow.quantized.save(*paths)
    for output, expected in zip(run_symbol(*paths, follow.integers.numpy()), follow.outputs(), strict=True):
        assert np.array_equal(output, expected)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", CASES)
def test_the_runtime_gives_the_same_boxes(halves, tmp_path, name):
    """Oracle: the integer graph; both back ends of the real runtime give its integers."""
    check_runtime(followed(halves(name), tmp_path))


@pytest.mark.parametrize("name", ["ssd, 30 bits", "yolo, 30 bits"])
def test_a_float_top_is_exported_too(halves, mxnet, tmp_path, name):
    """Oracle: torch. MXNet computes the base in float64 and the top in float32, as torch does: equal to 1e-5."""
    import bridges.mxnet.cvm_op  # noqa: F401  (registers the Custom operators; needs MXNet)
    found = halves(name)
    paths = tmp_path / "r-symbol.json", tmp_path / "r-0000.params"
    found.floats.save(*paths)
    integers = load_real_data(found.data, "data", found.mrt.get_inputs_ext())
    arrays = {key.split(":")[1]: array.asnumpy() for key, array in mxnet.nd.load(str(paths[1])).items()}
    outputs = run_mxnet(mxnet, mxnet.sym.load(str(paths[0])), {**arrays, "data": integers.numpy().astype(np.float64)})
    for output, expected in zip(outputs, found.floats(found.data), strict=True):
        assert np.abs(output - expected.numpy()).max() <= 1e-5 * max(float(expected.abs().max()), 1.0)


@pytest.mark.parametrize("name", CASES)
def test_boxes_are_those_of_the_float_model(halves, name):
    """Oracle: the whole float network, for a picture that calibration did not see.

    Each of its ten best detections has a counterpart of the same class: an overlap of 0.75, and a score within 0.1.
    Weights of 8 bits cost a network that was never trained a few percent of its logits, and candidates of untrained
    scores lie close together: which of two that overlap suppresses the other may change, hence not every box is there.
    """
    found = halves(name)
    (ids, scores, boxes), (wanted_ids, wanted_scores, wanted_boxes) = (
        [output[0] for output in model(found.data)] for model in (found.integers, found.whole))
    best = wanted_scores[:10, 0].argsort(descending=True)
    alike = (overlap(wanted_boxes[best], boxes) > 0.75) & (wanted_ids[best] == ids[:, 0][None])
    alike &= (wanted_scores[best] - scores[:, 0][None]).abs() < 0.1
    assert int(alike.any(1).sum()) >= 9
