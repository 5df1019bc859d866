"""Softmax over part of an axis: masks that exclude elements by -infinity or a huge negative number, recognised.

A number such as -10000 added to a logit would take all the bits of its integers. What is meant is that the element
does not count, and so it is said: ``mrt.masked_softmax``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import fx

from mrt_torch.graph.contraction import is_constant
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.float_operators import define_float_operator

aten = torch.ops.aten
Emit = Callable[..., fx.Node]
EXCLUDING = -1e3  # exp of it is zero beside any other logit: float32 ends at exp(-104)
# Positions of x, the mask and the number among the arguments.
FILLED = {aten.masked_fill.Scalar: (0, 1, 2), aten.where.ScalarSelf: (2, 0, 1), aten.where.ScalarOther: (1, 0, 2)}
VIEWS = (aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dims, aten.permute.default, aten.expand.default,
         aten.slice.Tensor)


def _masked_softmax(x: torch.Tensor, mask: torch.Tensor, dim: int) -> torch.Tensor:
    """exp(x) over its sum along ``dim``, both where ``mask`` is above 0; 0 elsewhere, and where nothing is left."""
    excluded = mask <= 0
    return torch.softmax(x.masked_fill(excluded, -math.inf), dim).masked_fill(excluded, 0.0)


MASKED_SOFTMAX = define_float_operator("masked_softmax", "(Tensor x, Tensor mask, int dim) -> Tensor", _masked_softmax)


def softmax_of(emit: Emit, editor: GraphEditor, scores: fx.Node, dim: int) -> fx.Node:
    """A softmax, or a masked one of what the scores were before a mask changed them; see ``without_mask``."""
    found = without_mask(emit, editor, scores)
    if found is None:
        return emit(aten.softmax.int, scores, dim)
    return emit(MASKED_SOFTMAX, *found, dim)


def as_mask(emit: Emit, editor: GraphEditor, kept: fx.Node, dtype: torch.dtype, inverted: bool = False) -> fx.Node:
    """A mask of ``dtype``, 1 for what counts, from one that holds True (False if ``inverted``) or a number for it."""
    value = value_of(editor, kept)
    if value is not None:
        return editor.constant("mask", ((value > 0) != inverted).to(dtype))
    if kept.meta["val"].dtype != dtype:
        kept = emit(aten._to_copy.default, kept, dtype=dtype)
    return emit(aten.rsub.Scalar, kept, 1.0) if inverted else kept


def value_of(editor: GraphEditor, node: fx.Node) -> torch.Tensor | None:
    """The tensor of a constant, or of what is computed from constants alone; None for others."""
    if not is_constant(node):
        return None
    if node.op == "get_attr":
        return editor.tensor_of(node)
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: value_of(editor, source))
    return node.target(*args, **kwargs)


def without_mask(emit: Emit, editor: GraphEditor, scores: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """The scores before a huge negative number excluded some of them, and the mask of those that are left.

    Recognised are x + mask, masked_fill(x, mask, number) and where(mask, x, number), with masks that are constant, or
    computed as 0 or 1. Elements count as excluded from -1000 downwards. Where all of a row are excluded a masked
    softmax is 0, as torch's attention has it, and not what rounding leaves of their differences.
    """
    dtype = scores.meta["val"].dtype
    for inner, mask, inverted in _filled(editor, scores):
        if _covers(inner, mask, scores):
            return inner, as_mask(emit, editor, mask, dtype, inverted)
    if scores.target is aten.add.Tensor:
        for inner, addend in (scores.args, scores.args[::-1]):
            found = _covers(inner, addend, scores) and _additive(emit, editor, addend, dtype)
            if found:
                mask, rest = found
                return inner if rest is None else emit(aten.add.Tensor, inner, rest), mask
    return None


def _filled(editor: GraphEditor, node: fx.Node) -> list[tuple[fx.Node, fx.Node, bool]]:
    """(x, mask, whether True excludes) where a node is x with a huge negative number in place of what is masked."""
    if node.target in (aten.masked_fill.Scalar, aten.where.ScalarSelf, aten.where.ScalarOther):
        x, mask, number = (node.args[position] for position in FILLED[node.target])
        return [(x, mask, node.target is not aten.where.ScalarOther)] if number <= EXCLUDING else []
    if node.target is aten.where.self:
        condition, chosen, other = node.args
        return [(x, condition, inverted) for x, filling, inverted in ((chosen, other, False), (other, chosen, True))
                if _filling(editor, filling) <= EXCLUDING]
    return []


def _covers(inner: fx.Node, mask: fx.Node, scores: fx.Node) -> bool:
    """Whether ``inner`` has the shape of the scores, to which the mask is broadcast."""
    return isinstance(inner, fx.Node) and isinstance(mask, fx.Node) and shape_of(inner) == shape_of(scores)


def _filling(editor: GraphEditor, node: fx.Node) -> float:
    """The number that a tensor is filled with; NaN where it holds others, or it is not known."""
    if node.target in (aten.add.Scalar, aten.mul.Scalar, aten.sub.Scalar):
        if node.target is aten.mul.Scalar and node.args[1] == 0:
            return 0.0
        inner = _filling(editor, node.args[0])
        number = float(node.args[1])
        return inner * number if node.target is aten.mul.Scalar else \
            inner + (number if node.target is aten.add.Scalar else -number)
    if node.target in (aten.zeros_like.default, aten.new_zeros.default, aten.ones_like.default):
        return float(node.target is aten.ones_like.default)
    if node.target in (aten.full_like.default, aten.new_full.default):
        return float(node.args[1 if node.target is aten.full_like.default else 2])
    if node.target in VIEWS:
        return _filling(editor, node.args[0])
    value = value_of(editor, node)
    if value is None or not value.numel() or not bool((value == value.reshape(-1)[0]).all()):
        return math.nan
    return float(value.reshape(-1)[0])


def _additive(emit: Emit, editor: GraphEditor, addend: fx.Node, dtype: torch.dtype
              ) -> tuple[fx.Node, fx.Node | None] | None:
    """The mask, and what else is added, of a term that excludes by a huge negative number; None for other terms."""
    value = value_of(editor, addend)
    if value is not None:
        return _constant_mask(editor, value, dtype)
    if addend.target in VIEWS:
        found = _additive(emit, editor, addend.args[0], dtype)
        if found is None:
            return None
        mask, rest = (part and emit(addend.target, part, *addend.args[1:]) for part in found)
        return mask, rest
    if addend.target is aten.add.Tensor:
        return _sum_of_masks(emit, editor, addend, dtype)
    for inner, mask, inverted in _filled(editor, addend):
        if _filling(editor, inner) == 0:
            return as_mask(emit, editor, mask, dtype, inverted), None
    if addend.target is aten.mul.Scalar and addend.args[1] <= EXCLUDING:
        excluded = addend.args[0]
        if excluded.target is aten.rsub.Scalar and excluded.args[1] == 1:
            return as_mask(emit, editor, excluded.args[0], dtype), None
        if excluded.target is aten._to_copy.default and excluded.args[0].meta["val"].dtype is torch.bool:
            return as_mask(emit, editor, excluded.args[0], dtype, inverted=True), None
    return None


def _sum_of_masks(emit: Emit, editor: GraphEditor, addend: fx.Node, dtype: torch.dtype
                  ) -> tuple[fx.Node, fx.Node | None] | None:
    """Of two terms, such as a causal mask and one of padding: what both keep, and what either adds besides."""
    found = [(term, _additive(emit, editor, term, dtype)) for term in addend.args]
    masks = [mask for _, parts in found if parts for mask in parts[:1]]
    if not masks:
        return None
    rest = [term for term, parts in found if not parts] + [parts[1] for _, parts in found if parts and parts[1]]
    return (masks[0] if len(masks) == 1 else emit(aten.mul.Tensor, *masks),
            None if not rest else rest[0] if len(rest) == 1 else emit(aten.add.Tensor, *rest))


def _constant_mask(editor: GraphEditor, value: torch.Tensor, dtype: torch.dtype
                   ) -> tuple[fx.Node, fx.Node | None] | None:
    excluded = value <= EXCLUDING
    if not bool(excluded.any()):
        return None
    rest = value.masked_fill(excluded, 0).to(dtype)
    return (editor.constant("mask", (~excluded).to(dtype)),
            editor.constant("bias", rest) if bool(rest.any()) else None)
