"""Custom: what becomes of a left shift."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.cvm.load import graph_of
from mrt_torch.cvm import Interval, verify
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.ops import TRANSFORMERS, Custom, apply_pass
from mrt_torch.passes import prepare_for_compile
from tests.bridges.cvm.graphs import cvm, deployed_bytes, integer_graph
from tests.mrt_torch.cvm.calls import tensor

TYPES = ("cvm_clip", "cvm_left_shift", "cvm_right_shift", "cvm_lut")


def shift_graph(width, shift, precision, value_range=None):
    def build(editor, data):
        set_facts(data, value_range=value_range)
        return [editor.call(cvm.cvm_left_shift.default, data, precision=precision, shift_bit=shift)]
    return integer_graph(build, (9,), width)


def edges(width, shift, precision, values):
    """Values at the ends of the input's range and of what does not saturate the result."""
    bound, saturating = 2 ** (width - 1) - 1, 2 ** (precision - 1) - 1 >> shift
    wanted = [bound, -bound, saturating, -saturating, saturating + 1, -saturating - 1, 0, 1, -1]
    return tensor([max(min(value, bound), -bound) for value in wanted + values][-9:] if values else
                  [max(min(value, bound), -bound) for value in wanted])


def check(module, width, shift, precision, values):
    """Oracle: clamp(x * 2**shift) in Python integers."""
    fixed = prepare_for_compile(module, {})
    verify(fixed)
    names = [node.target._opname for node in fixed.graph.nodes if node.op == "call_function"]
    assert "cvm_left_shift" not in names and names[-1] == "cvm_clip"
    bound = 2 ** (precision - 1) - 1
    expected = [max(min(value * 2 ** shift, bound), -bound) for value in values.tolist()]
    assert fixed(values)[0].tolist() == module(values)[0].tolist() == expected
    head, before = (graph.graph.output_node().args[0][0] for graph in (fixed, module))
    assert facts_of(head).precision == facts_of(before).precision == precision
    assert facts_of(before).value_range.contains(facts_of(head).value_range)
    return names


@pytest.mark.parametrize("shift", [1, 2, 3, 4, 7, 15, 24, 28, 29, 30, 31])
def test_widths_and_precisions_at_the_edges(shift):
    for width in {1, 2, 8, 30 - shift, 31 - shift, 32 - shift} & set(range(1, 33 - shift)):
        for precision in {1, 2, width + shift - 1, width + shift, 31, 32}:
            check(shift_graph(width, shift, precision), width, shift, precision, edges(width, shift, precision, []))


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_random_values(data):
    width = data.draw(st.integers(1, 31))
    shift, precision = data.draw(st.integers(1, 32 - width)), data.draw(st.integers(1, 32))
    bound = 2 ** (width - 1) - 1
    values = data.draw(st.lists(st.integers(-bound, bound), min_size=9, max_size=9))
    check(shift_graph(width, shift, precision), width, shift, precision, edges(width, shift, precision, values))


def test_narrow_shifts_are_one_product():
    assert check(shift_graph(8, 4, 16), 8, 4, 16, tensor([3] * 9)) == ["broadcast_mul", "cvm_clip"]


def test_what_is_proven_narrows_first():
    """28 declared bits of which 8 are used: 8 + 6 bits fit."""
    module = shift_graph(28, 4, 32, Interval(-100, 127))
    assert check(module, 28, 4, 32, tensor([-100] * 9)) == ["cvm_clip", "broadcast_mul", "cvm_clip"]


def test_the_widest_shifts_double():
    assert check(shift_graph(31, 1, 32), 31, 1, 32, tensor([2 ** 30 - 1] * 9)) == ["elemwise_add", "cvm_clip"]
    names = check(shift_graph(28, 4, 32), 28, 4, 32, tensor([2 ** 27 - 1] * 9))
    assert names == ["broadcast_mul", "cvm_clip", "elemwise_add", "elemwise_add", "cvm_clip"]


def test_a_loaded_model_with_a_left_shift_can_be_exported():
    """A model that runs on FORMAL only becomes one for both back ends."""
    from bridges.cvm.lowering import lower
    symbol, parameters = lower(shift_graph(8, 3, 12))
    loaded = graph_of(symbol, parameters)
    deployed_bytes(prepare_for_compile(loaded, {}))


def test_two_shifts_in_a_row():
    def build(editor, data):
        first = editor.call(cvm.cvm_left_shift.default, data, precision=20, shift_bit=9)
        return [editor.call(cvm.cvm_left_shift.default, first, precision=32, shift_bit=12)]
    module = integer_graph(build, (5,), 8)
    fixed = prepare_for_compile(module, {})
    verify(fixed)
    values = tensor([127, -127, 0, 1, -64])
    assert torch.equal(fixed(values)[0], values * 2 ** 21) and torch.equal(module(values)[0], values * 2 ** 21)


def test_the_four_types():
    """Document 002: the op type only supports these; the others stay as they are."""
    assert {target._opname for target, owner in TRANSFORMERS if isinstance(owner, Custom)} == set(TYPES)
    module = integer_graph(lambda e, x: [e.call(cvm.relu.default, e.call(cvm.cvm_clip.default, x, precision=4))])
    clip, relu = (node for node in module.graph.nodes if node.op == "call_function")
    assert apply_pass("validate", clip) is None
    assert "relu is none of" in Custom().validate(relu)
    assert [n.target for n in prepare_for_compile(module, {}).graph.nodes if n.op == "call_function"] == [
        cvm.cvm_clip.default, cvm.relu.default]
