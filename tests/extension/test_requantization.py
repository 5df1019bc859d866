"""A requantization rule of the user. Oracles: the float model, the deployed files, and the built-in rule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization import Rescaling, choose_rescaling
from tests.end_to_end.following import check_deployed, check_runtime, check_values, follow

DATA = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def shift_only(ratio: float, width: int, target_bits: int, guard_bits: int) -> Rescaling:
    """The largest power of two that is not above the ratio: no multiplication, for hardware without one."""
    exponent = math.floor(math.log2(ratio))
    if exponent > 0:
        return Rescaling(0, width, 2 ** exponent, 0)
    return Rescaling(0, width, 1, -exponent)


def narrow_factors(ratio: float, width: int, target_bits: int, guard_bits: int) -> Rescaling:
    """Factors of 12 bits, for hardware whose multiplier has no more."""
    pre_shift = max(width - 19, 0)
    shift = min(max(10 - math.floor(math.log2(ratio)) - pre_shift, 0), 30)
    return Rescaling(pre_shift, width - pre_shift, round(math.ldexp(ratio, pre_shift + shift)), shift)


class Residual(nn.Module):
    """Two convolutions whose results are added."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return torch.relu(self.first(x)) + self.second(x)


def chain() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(80, 3))


def followed_with(rule, make, folder):
    """The network quantized with a rule, and what it gives in float."""
    torch.manual_seed(0)
    module = make().eval()
    model = Model.from_torch(module, DATA[:1])
    followed = follow(model, None, DATA, folder)
    followed.mrt.set_requantization(rule)
    quantized = followed.mrt.quantize()
    deployed = quantized.to_cvm("own", folder, input_shape=tuple(DATA.shape))
    with torch.no_grad():
        return type(followed)(model, followed.mrt, quantized, DATA, followed.integers, deployed), [module(DATA)]


def test_shifts_alone(tmp_path):
    """A power of two wastes up to a bit of every operand: the bound is twice the usual."""
    followed, expected = followed_with(shift_only, chain, tmp_path)
    check_values(followed, expected, quantized=0.06)
    assert "broadcast_mul" not in followed.operators() and "cvm_right_shift" in followed.operators()
    check_deployed(followed)


def test_narrow_factors(tmp_path):
    """It meets shared scales within 2**-11. Oracle: the factors in the graph."""
    followed, expected = followed_with(narrow_factors, Residual, tmp_path)
    check_values(followed, expected)
    factors = [buffer for name, buffer in followed.quantized.module.named_buffers() if name.startswith("const_")]
    assert factors and all(1 <= int(factor) <= 2047 for factor in factors)
    check_deployed(followed)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("rule, make", [(shift_only, chain), (narrow_factors, Residual)])
def test_the_runtime_gives_the_same_integers(rule, make, tmp_path):
    check_runtime(followed_with(rule, make, tmp_path)[0])


def test_a_rule_that_misses_a_shared_scale_is_refused(tmp_path):
    """The sum would be wrong by up to a factor of two."""
    with pytest.raises(InvalidArgumentError, match="misses a scale") as caught:
        followed_with(shift_only, Residual, tmp_path)
    assert "node '" in caught.value.where


def test_none_is_the_built_in_rule_again(tmp_path):
    """Oracle: the bytes of the deployed model."""
    plain = followed_with(choose_rescaling, Residual, tmp_path / "a")[0]
    again = followed_with(narrow_factors, Residual, tmp_path / "b")[0].mrt
    again.set_requantization(None)
    folder = again.quantize().to_cvm("own", tmp_path / "c", input_shape=tuple(DATA.shape))
    assert (folder / "symbol").read_bytes() == (plain.folder / "symbol").read_bytes()
    assert (folder / "params").read_bytes() == (plain.folder / "params").read_bytes()


@pytest.mark.parametrize("wrong, text", [
    (lambda *_: None, "saw None"), (lambda *_: (0, 8, 1, 3), "saw"),
    (lambda r, width, *_: Rescaling(0, width, 3.0, 3), "integers"),
    (lambda r, width, *_: Rescaling(0, width, 1, 31), "shifts"),
    (lambda r, width, *_: Rescaling(-1, width, 1, 3), "shifts"),
    (lambda r, width, *_: Rescaling(0, width, 0, 3), "not positive"),
    (lambda r, width, *_: Rescaling(2, width - 3, 1, 3), "fewer bits"),
    (lambda r, width, *_: Rescaling(0, width, 2 ** 29, 30), "exceed 31 bits")])
def test_rules_are_checked(wrong, text, tmp_path):
    """Nothing that the runtime would overflow on gets into a graph."""
    with pytest.raises(InvalidArgumentError, match=text):
        followed_with(wrong, chain, tmp_path)


@pytest.mark.parametrize("accuracy", ["default", "best"])
def test_recipes_leave_the_rule_alone(accuracy, tmp_path):
    """Scales of channels and zero points are not for a rule of one scale; wide operands, rounding and biases are."""
    followed, expected = followed_with(narrow_factors, Residual, tmp_path)
    followed.mrt.set_accuracy(accuracy, 1.0)
    quantized = followed.mrt.quantize()
    assert "broadcast_sub" not in followed.operators()
    factors = [buffer for name, buffer in quantized.module.named_buffers() if name.startswith("const_")]
    assert factors and all(buffer.numel() == 1 for buffer in factors)
    deployed = quantized.to_cvm("recipe", tmp_path, input_shape=tuple(DATA.shape))
    result = type(followed)(followed.model, followed.mrt, quantized, DATA, followed.integers, deployed)
    check_values(result, expected)
    check_deployed(result)
    assert len(followed.mrt.sensitivity()) == 2
