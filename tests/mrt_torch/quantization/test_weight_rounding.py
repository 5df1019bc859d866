"""Weights rounded within a graph. Oracle: the objective, measured on the operands of the float graph by an independent
unfolding; and the noise of a layer's result.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import unfold

from mrt_torch.passes import prepare, quantize
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization import weight_rounding as module_under_test
from mrt_torch.quantization.precision import int_realize
from mrt_torch.quantization.recipe import Recipe
from mrt_torch.quantization.second_moment import dense_windows
from mrt_torch.quantization.sensitivity import integers_of
from mrt_torch.quantization.weight_rounding import WeightRounding
from tests.mrt_torch.ops.graphs import aten, calibrated_of, draw, graph, integer_model, relative_error
from tests.mrt_torch.quantization.written import Written

SHAPE = (24, 3, 8, 8)
OPTIONS = {"first": ((1, 1), (1, 1), (1, 1), 1), "grouped": ((2, 1), (1, 0), (1, 1), 2),
           "depthwise": ((1, 1), (1, 1), (1, 2), 6)}


def smooth(*shape: int, seed: int = 0) -> torch.Tensor:
    """Images whose neighbours are alike, as pictures' are: what makes another rounding pay."""
    noise = draw(*shape, seed=seed)
    blurred = torch.nn.functional.avg_pool2d(noise, 3, 1, 1) * 3
    return blurred + noise.mean((2, 3), keepdim=True)


X = smooth(*SHAPE)


def network(e, x):
    def conv(data, name, *shape, seed):
        stride, padding, dilation, groups = OPTIONS[name]
        return e.call(aten.conv2d.default, data, e.constant(f"{name}_w", draw(*shape, seed=seed)), None, list(stride),
                      list(padding), list(dilation), groups, name=name)
    x = e.call(aten.relu.default, conv(x, "first", 6, 3, 3, 3, seed=1))
    x = e.call(aten.relu.default, conv(x, "grouped", 6, 3, 3, 3, seed=2))
    x = e.call(aten.relu.default, conv(x, "depthwise", 6, 1, 3, 3, seed=3))
    x = e.call(aten.flatten.using_ints, x, 1, 3)
    return e.call(aten.linear.default, x, e.constant("fc_w", draw(5, x.meta["val"].shape[1], seed=4)), None, name="fc")


class Rounded(Written):
    """As ``quantize`` writes it, with a rounding of weights."""

    def __init__(self, method: str, sample=None, build=network, **settings):
        self.method, self.sample = method, sample
        super().__init__(graph(build, SHAPE), X, sampled=True, **settings)

    def write(self):
        sample = self.calibrated.sample if self.sample is None else self.sample
        self.context.rounding = None if self.method == "nearest" else WeightRounding(self.module, sample, self.method)
        super().write()

    def kernels(self) -> dict[str, torch.Tensor]:
        return {op.name: sums.kernel for op, sums in self.context.weighted_sums.items()}

    def scales(self, name: str) -> torch.Tensor:
        """What each row of the weights was multiplied by."""
        sums = self.context.weighted_sums[self.op(name)]
        return sums.scales / sums.data.scales.repeat_interleave(len(sums.kernel) // len(sums.data.scales))


def objective(written: Written, name: str, kernel: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Variance of what the errors of the weights add to each output channel, on all windows of the sample: (O,)."""
    values = {}

    class Keep(torch.fx.Interpreter):
        def run_node(self, n):
            values[n.name] = super().run_node(n)
            return values[n.name]
    Keep(written.module).run(written.calibrated.sample)
    op = written.op(name)
    sums = written.context.weighted_sums[op]
    x = integers_of(sums.data, values[op.args[0].name])
    error = kernel.double() - scales.reshape([-1] + [1] * (kernel.dim() - 1)) * values[op.args[1].name]
    if name == "fc":
        return (x @ error.T).var(0, correction=0)
    stride, padding, dilation, groups = OPTIONS[name]
    return torch.nn.functional.conv2d(x, error, None, stride, padding, dilation, groups).transpose(0, 1).flatten(1).var(
        1, correction=0)


NAMES = ("first", "grouped", "depthwise", "fc")


@pytest.mark.parametrize("bits", [8, 4, 3])
@pytest.mark.parametrize("method", ["compensated", "searched"])
def test_no_channel_is_worse_than_with_the_nearest_integers(method, bits):
    """Each sample is small enough that all its windows count, so the bound holds channel by channel."""
    rounded = Rounded(method, weight_precision=bits)
    gained = {}
    for name, kernel in rounded.kernels().items():
        scales = rounded.scales(name)
        weights = rounded.context.tensor(rounded.op(name).args[1])
        nearest = int_realize(weights * scales.reshape([-1] + [1] * (weights.dim() - 1)), bits)
        plain, found = (objective(rounded, name, each, scales) for each in (nearest, kernel))
        assert bool((found <= plain * (1 + 1e-9) + 1e-9).all())
        assert int(kernel.abs().max()) <= 2 ** (bits - 1) - 1
        gained[name] = float(found.sum() / plain.sum())
    assert gained["first"] < 0.7 and gained["grouped"] < 0.7 and gained["fc"] < 0.1


def test_searched_is_no_worse_than_compensated():
    """On the whole, of the damped objective; here of the plain one within a hundredth."""
    compensated, searched = (Rounded(method, weight_precision=4) for method in ("compensated", "searched"))
    for name in NAMES:
        first, second = (float(objective(each, name, each.kernels()[name], each.scales(name)).sum())
                         for each in (compensated, searched))
        assert second <= first * 1.01


def test_the_network_gains():
    """Relative error of the outputs at 4 bits, on data that was not calibrated on."""
    module = graph(network, SHAPE)
    other = smooth(*SHAPE, seed=9)
    errors = {}
    for method in ("nearest", "compensated", "searched"):
        known = calibrated_of(prepare(module), X, sampled=True)
        prepared = prepare(module)
        chosen = QuantizationSettings(recipe=Recipe(rounding=method), weight_precision=4)
        integer, scales = quantize(prepared, known, chosen)
        data = next(n for n in integer.graph.nodes if n.op == "placeholder").meta["mrt"]
        seen = integer(int_realize(other * data.scale, data.precision))[0].double() / scales[0]
        errors[method] = relative_error(seen, module(other)[0])
    assert errors["compensated"] < 0.9 * errors["nearest"] and errors["searched"] < 0.9 * errors["nearest"]


@pytest.mark.parametrize("method", ["compensated", "searched"])
def test_it_is_deterministic_whatever_the_order_and_the_threads(method):
    """Sums of integers in float64 are exact: the order of the sample does not matter."""
    first = Rounded(method, weight_precision=4)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = Rounded(method, weight_precision=4)
    finally:
        torch.set_num_threads(threads)
    shuffled = Rounded(method, first.calibrated.sample[order], weight_precision=4)
    for other in (again, shuffled):
        assert all(torch.equal(first.kernels()[name], other.kernels()[name]) for name in NAMES)


def test_the_sample_decides():
    """Other data, other integers; the nearest ones do not look at it."""
    first, second = Rounded("compensated", weight_precision=4), Rounded("compensated", -X.flip(1), weight_precision=4)
    assert not torch.equal(first.kernels()["first"], second.kernels()["first"])
    plain = Rounded("nearest", weight_precision=4)
    assert all(torch.equal(plain.kernels()[name], int_realize(plain.context.tensor(plain.op(name).args[1])
                           * plain.scales(name).reshape([-1] + [1] * (plain.kernels()[name].dim() - 1)), 4))
               for name in NAMES)


def test_weights_of_too_many_taps_go_to_the_nearest(monkeypatch):
    """Their second moment would not fit. The others are searched."""
    monkeypatch.setattr(module_under_test, "MOST_TAPS", 27)
    rounded, plain = Rounded("compensated"), Rounded("nearest")
    assert torch.equal(rounded.kernels()["fc"], plain.kernels()["fc"])
    assert not torch.equal(rounded.kernels()["first"], plain.kernels()["first"])
    monkeypatch.setattr(module_under_test, "MOST_TAPS", 26)
    whole = Rounded("compensated")
    assert torch.equal(whole.kernels()["first"], plain.kernels()["first"])  # 27 taps
    assert not torch.equal(whole.kernels()["depthwise"], plain.kernels()["depthwise"])  # 9


def test_most_taps_bound_the_memory():
    """4608**2 numbers of 8 bytes; the bound is half a gibibyte."""
    assert module_under_test.MOST_TAPS ** 2 * 8 <= 2 ** 29


def test_a_second_question_for_a_node_looks_no_data_up():
    """Scales that were too fine are lowered and the weights rounded again, with the same second moment."""
    written = Rounded("compensated")
    op, sums = written.op("fc"), written.context.weighted_sums[written.op("fc")]
    rounding = WeightRounding(written.module, written.calibrated.sample, "compensated")
    calls = []

    def windows(x, positions):
        calls.append(positions)
        return dense_windows(x)
    weights, scales = written.context.tensor(op.args[1]), written.scales("fc")
    first = rounding.round(op, weights, scales, 8, sums.data, windows)
    count = len(calls)
    assert count == 3  # 24 examples, 8 at a time
    assert torch.equal(rounding.round(op, weights, scales, 8, sums.data, windows), first) and len(calls) == count
    assert torch.equal(first, sums.kernel)
    coarser = rounding.round(op, weights, scales / 2, 8, sums.data, windows)
    assert int(coarser.abs().max()) <= 64 and len(calls) == count


def test_data_that_is_constant_leaves_the_nearest_integers():
    """No direction has any variance, so nothing gains; nor do the weights of a channel that is always zero."""
    still = torch.full(SHAPE, 0.5, dtype=torch.float64)
    rounded, plain = Rounded("compensated", still), Rounded("nearest")
    assert torch.equal(rounded.kernels()["fc"], plain.kernels()["fc"])

    def dead(e, x):
        weight = draw(4, 3, 3, 3, seed=1)
        weight[0] = 0
        x = e.call(aten.relu.default, e.call(aten.conv2d.default, x, e.constant("a", weight), None))
        return e.call(aten.conv2d.default, x, e.constant("b", draw(4, 4, 3, 3, seed=2)), None, name="second")
    found = Rounded("compensated", build=dead).kernels()["second"]
    nearest = Rounded("nearest", build=dead).kernels()["second"]
    assert torch.equal(found[:, 0], nearest[:, 0])


def test_biased_and_affine_weights_are_rounded_too():
    """A weight with a zero point of its own (UniformAffine), and a bias that calls for smaller scales."""
    def build(e, x):
        x = e.call(aten.conv2d.default, x, e.constant("first_w", draw(6, 3, 3, 3, seed=1) + 2), None, name="first")
        return e.call(aten.conv2d.default, e.call(aten.relu.default, x), e.constant("w", draw(4, 6, 1, 1)),
                      e.constant("huge", draw(4) * 1e7), name="second")
    module = graph(build, SHAPE)
    affine = {"first_w": {"quant_type": "UniformAffine"}}
    known = calibrated_of(prepare(module), X, sampled=True)
    model = integer_model(module, X, known, weight_precision=4, configuration=affine)
    assert relative_error(model(X), module(X)[0]) < 1e-3  # the bias is nearly all there is
    rounded = Rounded("compensated", build=build, configuration=affine, weight_precision=4)
    sums = rounded.context.weighted_sums[rounded.op("first")]
    assert sums.weight_zeros is not None and int(sums.kernel.abs().max()) <= 7


def test_unfolding_agrees_with_the_windows():
    """The oracle above against torch's own unfolding: variance of W x over all windows."""
    rounded = Rounded("compensated", weight_precision=4)
    sums = rounded.context.weighted_sums[rounded.op("first")]
    x = integers_of(sums.data, rounded.calibrated.sample)
    windows = unfold(x, 3, padding=1).transpose(1, 2).reshape(-1, 27)
    error = sums.kernel.double().flatten(1) - rounded.scales("first")[:, None] * rounded.context.tensor(
        rounded.op("first").args[1]).flatten(1)
    expected = (windows @ error.T).var(0, correction=0)
    assert torch.allclose(objective(rounded, "first", sums.kernel, rounded.scales("first")), expected, rtol=1e-9)
