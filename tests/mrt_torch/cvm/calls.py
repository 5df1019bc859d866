"""Calls of CVM operators for the tests: one sample per operator, and ways to run and describe a call."""

from __future__ import annotations

import torch

from mrt_torch.cvm import OPERATORS, Call, Interval, Operand


def integers(shape, low=-127, high=127, seed=0) -> torch.Tensor:
    """int32 tensor of uniformly drawn values, both bounds included."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(low, high + 1, shape, generator=generator).to(torch.int32)


def tensor(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


def run(name, *tensors, **attributes):
    """Result of the real kernel, after checking dtype, and shape and dtype of the fake kernel."""
    target = OPERATORS[name].target
    result = target(*tensors, **attributes)
    on_meta = [[t.to("meta") for t in x] if isinstance(x, list) else x.to("meta") for x in tensors]
    fake = target(*on_meta, **attributes)
    for real, described in zip(outputs(result), outputs(fake), strict=True):
        assert real.dtype == described.dtype == torch.int32
        assert real.shape == described.shape
    return result


def outputs(result) -> tuple[torch.Tensor, ...]:
    """The outputs of a call, which is one tensor or a tuple of them."""
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


def flat(tensors) -> list[torch.Tensor]:
    """The tensors of a call whose operator may take a list."""
    return [t for x in tensors for t in (x if isinstance(x, (list, tuple)) else [x])]


def operand(value, precision=None, constant=False, value_range=None) -> Operand:
    """Operand of a tensor's shape and exact range."""
    exact = value_range or Interval.of_tensor(value)
    return Operand(tuple(value.shape), precision or exact.precision, exact, value if constant else None)


def call_on(name, *tensors, constants=(), precisions=None, **attributes) -> Call:
    """Call on tensors of which the ones at positions ``constants`` are constants of the model."""
    tensors = flat(tensors)
    operands = tuple(operand(t, precisions and precisions[i], i in constants) for i, t in enumerate(tensors))
    shape, *_ = OPERATORS[name].output_shapes([tuple(t.shape) for t in tensors], attributes)
    return Call(operands, attributes, shape)


def limits(name, *tensors, **options) -> str:
    """All reasons of the row against a call, as one text."""
    return "; ".join(OPERATORS[name].limits(call_on(name, *tensors, **options)))


def divergences(name, *tensors, **options) -> str:
    """All reasons why back ends may differ on a call, as one text."""
    return "; ".join(OPERATORS[name].divergences(call_on(name, *tensors, **options)))


def assert_range_holds(name, *tensors, tight=False, constants=(), precisions=None, **attributes) -> None:
    """A call's values lie in the proven range (reach both its ends if tight), which fits the precision."""
    row = OPERATORS[name]
    call = call_on(name, *tensors, constants=constants, precisions=precisions, **attributes)
    results = outputs(run(name, *tensors, **attributes))
    for result, predicted, precision in zip(results, row.value_ranges(call), row.precisions(call), strict=True):
        seen = Interval.of_tensor(result)
        assert predicted.contains(seen), (predicted, seen)
        assert predicted.precision <= precision
        if tight:
            assert predicted == seen


IMAGE = integers((2, 4, 5, 6))
SAMPLES = {
    "conv2d": ((IMAGE, integers((6, 2, 3, 2), seed=1), integers((6,), seed=2)),
               {"strides": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": 2}),
    "dense": ((integers((3, 7)), integers((4, 7), seed=1), integers((4,), seed=2)), {}),
    "batch_dot": ((integers((2, 3, 7)), integers((2, 4, 7), seed=1)), {}),
    "max_pool2d": ((IMAGE,), {"pool_size": [3, 2], "strides": [2, 2], "padding": [1, 0], "ceil_mode": True}),
    "upsampling": ((IMAGE,), {"scale": 2}),
    "relu": ((IMAGE,), {}),
    "abs": ((IMAGE,), {}),
    "negative": ((IMAGE,), {}),
    "cvm_precision": ((IMAGE,), {}),
    "clip": ((IMAGE,), {"a_min": -5, "a_max": 90}),
    "cvm_clip": ((IMAGE,), {"precision": 6}),
    "cvm_right_shift": ((IMAGE,), {"precision": 5, "shift_bit": 3}),
    "cvm_left_shift": ((IMAGE,), {"precision": 9, "shift_bit": 3}),
    "elemwise_add": ((IMAGE, integers(IMAGE.shape, seed=1)), {}),
    "elemwise_sub": ((IMAGE, integers(IMAGE.shape, seed=1)), {}),
    "broadcast_add": ((IMAGE, integers((4, 1, 1), seed=1)), {}),
    "broadcast_sub": ((IMAGE, integers((4, 1, 1), seed=1)), {}),
    "broadcast_mul": ((IMAGE, integers((4, 1, 6), seed=1)), {}),
    "broadcast_div": ((IMAGE, integers((4, 1, 6), -3, 3, seed=1)), {}),
    "broadcast_max": ((IMAGE, integers((1,), seed=1)), {}),
    "broadcast_greater": ((IMAGE, integers((5, 6), seed=1)), {}),
    "sum": ((IMAGE,), {"axis": [2, -1], "keepdims": False, "exclude": False}),
    "max": ((IMAGE,), {"axis": [0, 1], "keepdims": True, "exclude": True}),
    "flatten": ((IMAGE,), {}),
    "reshape": ((IMAGE,), {"shape": [-1, 10, 6]}),
    "squeeze": ((integers((2, 1, 3, 1)),), {"axis": [-1]}),
    "expand_dims": ((IMAGE,), {"axis": -1, "num_newaxis": 2}),
    "transpose": ((IMAGE,), {"axes": [0, 2, -1, 1]}),
    "concatenate": (([IMAGE, integers((2, 1, 5, 6), seed=1)],), {"axis": 1}),
    "repeat": ((IMAGE,), {"repeats": 3, "axis": -2}),
    "tile": ((IMAGE,), {"reps": [2, 1, 3]}),
    "strided_slice": ((IMAGE,), {"begin": [0, 1, -1], "end": [2, 4, -6], "stride": [1, 2, -2]}),
    "slice_like": ((IMAGE, integers((1, 4, 3, 2))), {"axis": [2, -1]}),
    "take": ((IMAGE, integers((2, 3), -2, 6, seed=1)), {"axis": 2}),
    "cvm_lut": ((IMAGE, integers((100,), seed=1)), {}),
    "get_valid_counts": ((integers((2, 9, 4)),), {"score_threshold": 5}),
    "non_max_suppression": ((integers((2, 9, 6), 0, 20), tensor([7, 9])),
                            {"iou_threshold": 30, "force_suppress": False, "top_k": 8, "max_output_size": 4}),
    "where": ((integers((2, 3), 0, 1), integers((2, 3)), integers((2, 3), seed=1)), {}),
}
