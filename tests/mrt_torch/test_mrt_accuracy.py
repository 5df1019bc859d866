"""Recipes, precisions and sensitivities through MRT, and its files. Oracles: the float model; the same call again; the
bytes of files.
"""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn

from mrt_torch import MRT, Model
from mrt_torch.errors import CalibrationError, InvalidArgumentError, InvalidFileError
from mrt_torch.graph.facts import facts_of
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.recipe import RECIPES
from tests.mrt_torch.small_models import calibrated, images, prepared
from tests.mrt_torch.test_mrt_calibration import bytes_of

TEST = images(8, seed=1)  # what was calibrated on: eight images tell little of others


def error(mrt: MRT) -> float:
    """Of the outputs, relative to the float model's."""
    exact = mrt.model(TEST)
    return float((mrt.quantize()(TEST) - exact).norm() / exact.norm())


def operators(model) -> list[str]:
    return [n.target._opname for n in model.module.graph.nodes if n.op == "call_function"]


def test_recipes_by_name():
    """``MRT(model, accuracy=...)`` and ``set_accuracy`` are one thing; each is better than the one before.

    With 64 images: of eight, ranges get more room for others than a test on the eight can reward.
    """
    errors = {}
    for name in RECIPES:
        mrt = MRT(prepared())
        mrt.set_data(images(64, seed=1))
        mrt.calibrate()
        mrt.set_accuracy(name)
        assert mrt.settings.recipe == RECIPES[name] == MRT(prepared(), accuracy=name).settings.recipe
        errors[name] = error(mrt)
    assert MRT(prepared()).settings == QuantizationSettings()
    assert errors["best"] < errors["default"] < errors["original"] < 0.02


@pytest.mark.parametrize("name", ["Best", "", None, 5, ["best"]])
def test_other_recipes_are_refused(name):
    for call in (lambda: MRT(prepared(), accuracy=name), lambda: calibrated().set_accuracy(name)):
        with pytest.raises(InvalidArgumentError, match="there is no recipe"):
            call()


def test_a_budget_buys_operands():
    """The dense layer first, whose noise is spread over the fewest operations, then conv1; conv0 reads the input, which
    has no more bits. Oracle: multiply-accumulates of the graphs, by hand.
    """
    def cost(model):
        return sum(n.meta["val"][0].numel() * n.args[1].meta["val"][0].numel() for n in model.module.graph.nodes
                   if n.op == "call_function" and n.target._opname in ("conv2d", "dense"))
    plain = cost(calibrated().quantize())
    conv0, conv1, dense = 4 * 36 * 27, 5 * 36, 15
    assert plain == conv0 + conv1 + dense
    for budget, extra in ((0, 0), (16 / plain, dense), (conv1 / plain, dense), (0.25, conv1 + dense),
                          (9, conv1 + dense)):
        mrt = calibrated()
        mrt.set_accuracy("best", budget)
        assert cost(mrt.quantize()) == plain + extra


def test_precision_of_one_node():
    """By the name in the model or in the graph. Noise of its operand falls with every bit."""
    noises = []
    for bits in (4, 8, 12):
        mrt = calibrated()
        mrt.set_node_input_prec("conv1", bits)
        assert mrt.settings.node_precisions == {"conv1": bits}
        noises.append({row.node: row.operand for row in mrt.sensitivity()}["conv1"])
        parts = operators(mrt.quantize()).count("conv2d")
        assert parts == (3 if bits > 8 else 2)
    assert noises[0] > 30 * noises[1] > 900 * noises[2]


def test_precision_of_an_operator():
    """12-bit convolutions: the input of 12 bits in two parts too."""
    mrt = calibrated()
    mrt.set_input_prec(12)
    mrt.set_op_input_prec("Convolution", 12)
    mrt.set_op_input_prec("FullyConnected", 12)
    assert (operators(mrt.quantize()).count("conv2d"), operators(mrt.quantize()).count("dense")) == (4, 2)
    assert error(mrt) < error(calibrated())
    mrt.set_node_input_prec("conv1", 8)
    assert operators(mrt.quantize()).count("conv2d") == 3


@pytest.mark.parametrize("bits, bound", [(2, 0.7), (3, 0.25), (4, 0.12), (6, 0.03), (8, 0.012)])
@pytest.mark.parametrize("accuracy", ["default", "best"])
def test_weights_of_few_bits(accuracy, bits, bound):
    """They fill their bits, and no more."""
    mrt = calibrated()
    mrt.set_accuracy(accuracy)
    mrt.set_weight_precision(bits)
    assert error(mrt) < bound
    kernels = [n.args[1] for n in mrt.current_model.module.graph.nodes
               if n.op == "call_function" and n.target._opname in ("conv2d", "dense")]
    assert max(facts_of(kernel).value_range.magnitude for kernel in kernels) == 2 ** (bits - 1) - 1


def test_careful_rounding_beats_the_nearest_integers_at_four_bits():
    careful, nearest = calibrated(), calibrated()
    for mrt in (careful, nearest):
        mrt.set_weight_precision(4)
    nearest.settings = replace(nearest.settings, recipe=RECIPES["default"])
    assert error(careful) < error(nearest)


def test_sensitivities():
    """Every convolution and dense layer once; they are of the settings at hand, and change nothing."""
    mrt = calibrated()
    before = mrt.settings, mrt.features
    table = mrt.sensitivity()
    assert {row.node for row in table} == {"conv0", "conv1", "dense"} and "conv1" in str(table)
    assert sum(row.share for row in table) == pytest.approx(1.0)
    assert all(0 < row.cumulative < 0.01 for row in table)
    assert table == mrt.sensitivity() and (mrt.settings, mrt.features) == before
    assert mrt.current_model is mrt.model
    mrt.set_accuracy("best", 1.0)
    best = {row.node: row.operand for row in mrt.sensitivity()}
    plain = {row.node: row.operand for row in table}
    assert best["conv1"] < plain["conv1"] / 100 and best["dense"] < plain["dense"] / 100


def test_sensitivities_need_a_calibration_with_data():
    mrt = prepared().get_mrt()
    with pytest.raises(CalibrationError, match="not calibrated"):
        mrt.sensitivity()
    mrt.set_th_dict(calibrated().th_dict)
    with pytest.raises(CalibrationError, match="sample"):
        mrt.sensitivity()


def settled(kind: str) -> MRT:
    """An MRT with settings of all kinds."""
    mrt = calibrated(heads=2)
    if kind == "best":
        mrt.set_accuracy("best", 0.9)
        mrt.set_node_input_prec("dense", 11)
    elif kind == "configured":
        mrt.set_cfg_dict({"conv1": {"quant_type": "UniformSymmetric", "opt_info": ("HistoricalValue", "lambd", 6.0)},
                          "op:FullyConnected": {"quant_type": "UniformAffine"}})
        mrt.calibrate()
    elif kind == "thresholds":
        mrt.set_threshold("pool0", 1.5)
        mrt.set_threshold("conv1_weight", 0.7)
        mrt.set_weight_precision(5)
        mrt.set_output_prec(8)
    return mrt


@pytest.mark.parametrize("kind", ["default", "best", "configured", "thresholds"])
def test_a_loaded_state_quantizes_to_the_same_bytes(kind, tmp_path):
    """Before and after quantize; so does quantize called twice, and the state that is saved again."""
    mrt = settled(kind)
    mrt.save("before", tmp_path)
    first, second = mrt.quantize(), mrt.quantize()
    expected = bytes_of(first, tmp_path / "x")
    assert bytes_of(second, tmp_path / "x") == expected
    mrt.save("after", tmp_path)
    for name in ("before", "after"):
        again = MRT.load(name, tmp_path)
        assert (again.settings, again.features, again.operand_features) == (
            mrt.settings, mrt.features, mrt.operand_features)
        assert torch.equal(again._sample, mrt._sample)
        if name == "after":
            assert bytes_of(again.current_model, tmp_path / "x") == expected and again.buffers == mrt.buffers
        again.save("copy", tmp_path)
        for path in tmp_path.glob(f"{name}.mrt.*"):
            assert (tmp_path / path.name.replace(name, "copy")).read_bytes() == path.read_bytes()
        assert bytes_of(again.quantize(), tmp_path / "x") == expected
        again.sensitivity()


def test_a_state_without_a_sample(tmp_path):
    """Features by hand; a sample that an earlier save left there does not count."""
    calibrated().save("net", tmp_path)
    mrt = prepared().get_mrt()
    mrt.set_th_dict(calibrated().th_dict)
    mrt.save("net", tmp_path)
    again = MRT.load("net", tmp_path)
    assert again._sample is None and again.th_dict == mrt.th_dict
    assert bytes_of(again.quantize(), tmp_path / "x") == bytes_of(mrt.quantize(), tmp_path / "x")


@pytest.mark.parametrize("sample", [
    torch.zeros(2, 3, 5, 6), torch.zeros(0, 3, 6, 6), torch.zeros(3), torch.zeros(2, 3, 6, 6).double(),
    torch.zeros(2, 3, 6, 6, dtype=torch.int32), torch.full((2, 3, 6, 6), float("nan")),
    torch.full((1, 3, 6, 6), float("inf")), b"", b"spoiled"], ids=lambda s: s if isinstance(s, bytes) else
    f"{tuple(s.shape)}-{s.dtype}-{float(s.sum())}")
def test_a_spoiled_sample_is_refused(sample, tmp_path):
    calibrated().save("net", tmp_path)
    content = sample if isinstance(sample, bytes) else safetensors.torch.save({"sample": sample})
    (tmp_path / "net.mrt.sample.safetensors").write_bytes(content)
    with pytest.raises(InvalidFileError):
        MRT.load("net", tmp_path)


def test_features_of_another_model_are_refused(tmp_path):
    """Names that the model does not have, in any of the lines that have names."""
    calibrated().save("net", tmp_path)
    path = tmp_path / "net.mrt.ext"
    lines = path.read_text().splitlines()
    for position, change in ((1, {"elsewhere": ["Absmax", 1.0]}), (2, [["elsewhere", 1, ["MinMax", 0.0, 1.0]]])):
        changed = list(lines)
        changed[position] = json.dumps(change)
        path.write_text("\n".join(changed) + "\n")
        with pytest.raises(InvalidFileError, match="elsewhere"):
            MRT.load("net", tmp_path)


def test_maps_of_zero_points_are_reported(caplog):
    """Oracle: the constants of more than one pixel that the integer graph adds."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)
    data = torch.randn(8, 1, 6, 6)
    model = Model.from_torch(nn.Sequential(*layers).eval(), data[:2])
    model.prepare((1, 1, 6, 6))
    mrt = model.get_mrt()
    mrt.set_data(data)
    mrt.calibrate()
    with caplog.at_level("INFO", logger="mrt_torch.passes.quantize"):
        graph = mrt.quantize().module.graph
    constants = [operand for node in graph.nodes if node.target is torch.ops.cvm.broadcast_add.default
                 for operand in node.args if operand.op == "get_attr"]
    sizes = [node.meta["val"].numel() for node in constants if node.meta["val"].shape[2:].numel() > 1]
    assert sizes == [4 * 6 * 6]
    assert f"{len(sizes)} convolutions add a constant map, {sum(sizes)} numbers" in caplog.text
