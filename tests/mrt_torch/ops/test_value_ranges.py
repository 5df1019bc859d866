"""Random small networks: every integer at every node lies in its proven range, of 32 bits at most."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.passes import prepare
from tests.mrt_torch.ops.graphs import CheckedRun, aten, calibrated_of, draw, graph, integer_model, relative_error

CHANNELS = 4
SHAPE = (2, CHANNELS, 4, 4)
MAGNITUDES = st.sampled_from([1e-6, 0.05, 1.0, 30.0])


def convolution(e, x, seed, magnitude, groups, has_bias):
    weight = e.constant("w", draw(CHANNELS, CHANNELS // groups, 3, 3, seed=seed, magnitude=magnitude))
    bias = e.constant("b", draw(CHANNELS, seed=seed + 1)) if has_bias else None
    return e.call(aten.conv2d.default, x, weight, bias, [1, 1], [1, 1], [1, 1], groups)


def norm(e, x, seed):
    gamma, beta, mean = (e.constant("p", draw(CHANNELS, seed=seed + i)) for i in range(3))
    variance = e.constant("v", draw(CHANNELS, seed=seed) + 1.2)
    return e.call(aten.batch_norm.default, x, gamma, beta, mean, variance, False, 0.1, 1e-5, False)


UNARY = {"relu": (aten.relu.default,), "leaky": (aten.leaky_relu.default, 0.2), "clip": (aten.clamp.default, -0.4, 0.6),
         "sigmoid": (aten.sigmoid.default,), "tanh": (aten.tanh.default,), "neg": (aten.neg.default,),
         "abs": (aten.abs.default,), "double": (aten.mul.Scalar, -2.0), "plus": (aten.add.Scalar, 0.7),
         "minus": (aten.rsub.Scalar, 0.1), "softmax": (aten.softmax.int, 1),
         "logarithm": (aten.log_softmax.int, 1), "layer": (aten.layer_norm.default, [4], None, None, 1e-5),
         "unit": (aten.rms_norm.default, [4], None, 1e-3), "least": (aten.amin.default, [1], True),
         "maximum": (aten.amax.default, [1], True),
         "mean": (aten.mean.dim, [2, 3], True), "sum": (aten.sum.dim_IntList, [1], True),
         "average": (aten.avg_pool2d.default, [3, 3], [1, 1], [1, 1], False, False),
         "pool": (aten.max_pool2d.default, [3, 3], [1, 1], [1, 1])}
ROWS = ("layer", "unit")  # which need the last axis whole
BINARY = {"add": aten.add.Tensor, "sub": aten.sub.Tensor, "mul": aten.mul.Tensor, "div": aten.div.Tensor,
          "max": aten.maximum.default, "min": aten.minimum.default}
STEP = st.one_of(
    st.tuples(st.just("conv"), st.integers(0, 99), MAGNITUDES, st.sampled_from([1, 2, 4]), st.booleans()),
    st.tuples(st.just("norm"), st.integers(0, 99)),
    st.tuples(st.sampled_from(sorted(UNARY))),
    st.tuples(st.sampled_from(sorted(BINARY)), st.booleans(), st.integers(0, 99), MAGNITUDES))


def network(steps):
    """Operators one after another; those of two tensors take the input, or a constant, as their second."""
    def build(e, data):
        x = data
        for kind, *arguments in steps:
            if kind == "conv":
                x = convolution(e, e.call(aten.add.Tensor, x, data) if x.meta["val"].shape != SHAPE else x, *arguments)
            elif kind == "norm":
                x = norm(e, e.call(aten.add.Tensor, x, data), *arguments)
            elif kind in UNARY:
                if kind in ROWS and x.meta["val"].shape != SHAPE:
                    x = e.call(aten.add.Tensor, x, data)
                x = e.call(UNARY[kind][0], x, *UNARY[kind][1:])
            else:
                constant, seed, magnitude = arguments
                other = e.constant("c", draw(CHANNELS, 1, 1, seed=seed, magnitude=magnitude)) if constant else data
                x = e.call(BINARY[kind], x, other)
        return x
    return graph(build, SHAPE)


@settings(deadline=None, max_examples=40)
@given(steps=st.lists(STEP, min_size=1, max_size=6), data_magnitude=st.sampled_from([1e-3, 1.0, 50.0]),
       bits=st.sampled_from([8, 8, 12]), recipe=st.sampled_from(["default", "default", "original"]),
       whole=st.booleans())
def test_every_node_stays_in_its_range(steps, data_magnitude, bits, recipe, whole):
    """Oracle: the interpreter compares all integers with their facts. The inputs are the extremes of their precision,
    whatever calibration saw. ``whole`` is as MRT calibrates, with clipped operands and corrected biases.
    """
    module, data = network(steps), draw(*SHAPE, magnitude=data_magnitude)
    known = calibrated_of(prepare(module), data, clipped=whole, sampled=whole)
    model = integer_model(module, data, known, recipe, input_precision=bits)
    largest = facts_of(input_nodes(model.module.graph)[0]).value_range.maximum
    signs = torch.randint(0, 2, (5, *SHAPE[1:]), generator=torch.Generator().manual_seed(0)) * 2 - 1
    full, zeros = torch.full(SHAPE, largest), torch.zeros(1, *SHAPE[1:])
    for integers in (full, -full, signs * largest, zeros):
        CheckedRun(model.module).run(integers.to(torch.int32))


@settings(deadline=None, max_examples=15)
@given(seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4),
       between=st.sampled_from(["leaky", "tanh", "norm", "pool"]), recipe=st.sampled_from(["default", "original"]))
def test_ordinary_networks_stay_close_to_float(seeds, between, recipe):
    """Convolutions with a function between: 8 bits a layer keep the result within 4 % in the norm."""
    steps = []
    for seed in seeds:
        steps += [("conv", seed, 0.3, 1, True), (between,) if between in UNARY else (between, seed)]
    x = draw(*SHAPE)
    module = network(steps)
    assert relative_error(integer_model(module, x, recipe=recipe)(x), module(x)[0]) < 0.04
