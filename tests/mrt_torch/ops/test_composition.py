"""Compositions: texts of steps, what they compute, and their integers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidFileError, InvalidGraphError
from mrt_torch.graph.runner import finish
from mrt_torch.graph.serialization import load_graph, save_graph
from mrt_torch.graph.stage import Stage
from mrt_torch.ops import apply_pass
from mrt_torch.ops.composition import COMPOSITION, Step, Value, expand_compositions, read_steps
from tests.mrt_torch.ops.functions import looked_up, table_of
from tests.mrt_torch.ops.graphs import (
    assert_same_values,
    assert_untouched,
    assert_within,
    aten,
    draw,
    graph,
    integer_model,
    operators,
    transposed,
    unary,
)

SWISH = ["aten.sigmoid.default %0", "aten.mul.Tensor %0 %1"]
HARD_SWISH = ["aten.add.Scalar %0 3.0", "aten.clamp.default %1 0.0 6", "aten.mul.Tensor %0 %2",
              "aten.div.Scalar %3 6.0"]
GELU = ['aten.gelu.default %0 approximate="tanh"', "aten.neg.default %1"]


@pytest.mark.parametrize("steps, function", [(SWISH, torch.nn.functional.silu),
                                             (HARD_SWISH, torch.nn.functional.hardswish),
                                             (GELU, lambda x: -torch.nn.functional.gelu(x, approximate="tanh"))])
def test_values_and_integers(steps, function):
    """Oracle: torch's function; 1e-12 for another order of rounding, 16 bits for the table."""
    x = draw(4, 50, magnitude=4.0)
    module = unary(COMPOSITION, steps, shape=x.shape)
    assert torch.allclose(module(x)[0], function(x), rtol=0, atol=1e-12)
    assert_untouched(module, x)
    model = integer_model(module, x, input_precision=24)
    assert operators(model.module)[-2:] == ["broadcast_add", "cvm_lut"]
    assert_within(model(x), function(looked_up(model, x)), 4.0 * 2 ** -15)


@pytest.mark.parametrize("steps", [SWISH, HARD_SWISH, GELU])
def test_expansion(steps):
    """Oracle: the composition itself, exactly, and one operator for each step."""
    x = draw(4, 50, magnitude=4.0)
    module = unary(COMPOSITION, steps, shape=x.shape)
    expected = module(x)[0]
    assert expand_compositions(module) == 1
    finish(module, Stage.FLOAT)
    assert torch.equal(module(x)[0], expected)
    assert [str(n.target) for n in module.graph.nodes if n.op == "call_function"] == [s.split()[0] for s in steps]
    assert expand_compositions(module) == 0


NUMBERS = st.none() | st.booleans() | st.integers(-10 ** 6, 10 ** 6) | st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([aten.mul.Tensor, aten.gelu.default, aten.softplus.default]),
                          st.lists(NUMBERS, max_size=3), st.text("ab c=\"", max_size=5)), min_size=1, max_size=4))
def test_steps_are_read_back(drawn):
    """Oracle: the steps that were written."""
    steps = tuple(Step(target, (Value(position), *numbers), (("approximate", "tanh"),))
                  for position, (target, numbers, _) in enumerate(drawn))
    assert read_steps([str(step) for step in steps]) == steps


@pytest.mark.parametrize("texts", [
    [], ["aten.lgamma.default %0"], ["os.system %0"], ["aten.sigmoid.default %1"], ["aten.sigmoid.default %-1"],
    ["aten.sigmoid.default %x"], ["aten.add.Scalar %0 Infinity"], ["aten.add.Scalar %0 NaN"],
    ["aten.add.Scalar %0 [1]"], ["aten.add.Scalar %0 1e"], ["aten.add.Scalar %0 __import__"],
    ["mrt.composition.default %0 %0"], ["aten.sigmoid.default"], ["aten.sigmoid.default %0 %0 %0"]], ids=str)
def test_malformed_steps(texts):
    """Nothing but the known operators, earlier values and numbers. Oracle: the error."""
    with pytest.raises(InvalidGraphError, match="refuses its arguments"):
        unary(COMPOSITION, texts)


@pytest.mark.parametrize("chosen, entries", [({"sigmoid": 9}, 511), ({"composition": 9}, 511), ({}, 1023),
                                             ({"sigmoid": 9, "composition": 11}, 2047)])
def test_the_bits_set_for_its_functions_hold(chosen, entries):
    """x * sigmoid(x) takes those of sigmoid. Oracle: the number of entries."""
    x = draw(4, 50)
    model = integer_model(unary(COMPOSITION, SWISH, shape=x.shape), x, input_precision=20, operator_precisions=chosen)
    assert table_of(model).shape == (entries, 1)


def test_it_is_saved_and_loaded(tmp_path):
    """Oracle: the values; a step that is none is refused when it is read."""
    x = draw(4, 5)
    module = unary(COMPOSITION, GELU, shape=x.shape)
    files = tmp_path / "m.json", tmp_path / "m.safetensors"
    save_graph(module, Stage.FLOAT, *files)
    assert torch.equal(load_graph(*files)[0](x)[0], module(x)[0])
    files[0].write_text(files[0].read_text().replace("aten.neg.default", "os.system"))
    with pytest.raises(InvalidFileError, match="is no step of a composition"):
        load_graph(*files)


def test_operations():
    """One for each step and element."""
    module = unary(COMPOSITION, HARD_SWISH)
    assert apply_pass("calculate_ops", next(n for n in module.graph.nodes if n.op == "call_function")) == 480


def test_it_trades_places_with_a_transpose():
    x = draw(2, 3, 4, 5)
    module = graph(lambda e, v: e.call(COMPOSITION, e.call(aten.permute.default, v, [0, 2, 3, 1]), SWISH), x.shape)
    assert operators(transposed(module)) == ["composition", "permute"]
    assert_same_values(module, transposed(module), x, tolerance=0)
