"""Gathers what computes one function of one tensor, so that it becomes one table."""

from __future__ import annotations

import math

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.ops.composition import ARITHMETIC, COMPOSITION, Step, Value, is_table_function
from mrt_torch.ops.explanation import Explanation
from mrt_torch.ops.wide_functions import is_wide_function

aten = torch.ops.aten
LONGEST_FUNCTION = 64
RULE = "Composition"
# With a number on the right, and on the left.
SCALAR_FORMS = {
    aten.add.Tensor: (aten.add.Scalar, aten.add.Scalar), aten.sub.Tensor: (aten.sub.Scalar, aten.rsub.Scalar),
    aten.mul.Tensor: (aten.mul.Scalar, aten.mul.Scalar), aten.div.Tensor: (aten.div.Scalar, None)}
BINARY = {*SCALAR_FORMS, aten.maximum.default, aten.minimum.default}
SHIFTS = {aten.add.Scalar, aten.sub.Scalar, aten.rsub.Scalar}


def fuse_functions(module: fx.GraphModule, explanation: Explanation | None = None) -> int:
    """Replace operators that make one function of one tensor by ``mrt.composition``; returns the number of firings.

        x ──> sigmoid ──> mul ──>        x ──> composition(x * sigmoid(x)) ──>
        └──────────────────┘       =>

    What is gathered works element by element, with numbers, and nothing else reads a value between: swish,
    hard-swish, gelu by erf or tanh, softsign, x - tanh(x), log(1 + exp(x)), in whatever order they are written. It
    must save a rounding: two operators at least that are not exact, one of them a table, a quotient or a clip in a
    product. Exact operators in front and behind stay as they are (a relu in front halves the table), and so do x * x,
    LeakyReLU and 2 * sigmoid(x). Constants of one element become numbers first. Exact in float, but that c / x becomes
    c * (1 / x). One sweep from the outputs sees the longest function first.
    """
    editor = GraphEditor(module)
    firings, erased = _use_numbers(editor), set()
    for node in reversed(list(module.graph.nodes)):
        if node in erased or not _is_step(node):
            continue
        found = _function_of_one_tensor(node)
        if found is None:
            continue
        source, inner = found
        with editor.before(node):
            fused = editor.call(COMPOSITION, source, _steps(source, inner))
        erased |= editor.replace(node, fused)
        firings += 1
        if explanation is not None:
            explanation.record(RULE, fused, True)
    return firings


def _use_numbers(editor: GraphEditor) -> int:
    """Replace operators of a tensor and a constant of one element by those of a tensor and a number."""
    firings = 0
    for node in list(editor.graph.nodes):
        if node.op != "call_function" or node.target not in SCALAR_FORMS or node.kwargs:
            continue
        for position, (constant, other) in enumerate((node.args[::-1], node.args)):
            if constant.op == "get_attr" and other.op != "get_attr" and shape_of(other) == shape_of(node) \
                    and math.prod(shape_of(constant)) == 1 and _same_dtype(constant, other):
                number, target = float(editor.tensor_of(constant)), SCALAR_FORMS[node.target][position]
                with editor.before(node):
                    replacement = editor.call(target, other, number) if target is not None else \
                        editor.call(aten.mul.Scalar, editor.call(aten.reciprocal.default, other), number)
                editor.replace(node, replacement)
                firings += 1
                break
    return firings


def _same_dtype(constant: fx.Node, other: fx.Node) -> bool:
    return constant.meta["val"].dtype == other.meta["val"].dtype and other.meta["val"].is_floating_point()


def _is_step(node: fx.Node) -> bool:
    """Whether a node works element by element on tensors and finite numbers, and may be part of a composition."""
    if node.op != "call_function" or node.target is COMPOSITION:
        return False
    if not (is_table_function(node.target) or (node.target in ARITHMETIC and not node.kwargs)):
        return False
    numbers = [value for value in node.args if isinstance(value, (int, float))]
    return node.meta["val"].is_floating_point() and all(map(math.isfinite, numbers))


def _function_of_one_tensor(head: fx.Node) -> tuple[fx.Node, list[fx.Node]] | None:
    """The tensor and the nodes, in order, of the longest function of one tensor that ends in ``head``.

    Walks up from ``head``, always from the last node of the graph's order, whose readers have then all been seen.
    """
    if head.target in ARITHMETIC - BINARY - SHIFTS:
        return None
    inner: dict[fx.Node, None] = {}
    frontier, best, rounds = {head}, None, 0
    while len(inner) < LONGEST_FUNCTION:
        last = max(frontier)
        if last is not head and not (all(user in inner for user in last.users) and _is_step(last)):
            break
        inner[last] = None
        frontier = (frontier - {last}) | set(last.all_input_nodes)
        if not all(_same_kind(node, head) for node in frontier):
            break
        rounds += is_table_function(last.target) or last.target in BINARY
        if len(frontier) == 1 and rounds:
            best, rounds = (max(frontier), list(reversed(inner))), 0
    return best if best is not None and _is_worth_a_table(best[1]) else None


def _same_kind(node: fx.Node, head: fx.Node) -> bool:
    value, wanted = node.meta["val"], head.meta["val"]
    return isinstance(value, torch.Tensor) and (value.shape, value.dtype) == (wanted.shape, wanted.dtype)


def _is_worth_a_table(inner: list[fx.Node]) -> bool:
    targets = [node.target for node in inner]
    if aten.div.Tensor in targets:
        return True
    tables, binary = sum(map(is_table_function, targets)), sum(target in BINARY for target in targets)
    # 1 / sqrt(x) of a wide x is finer by the segments of each than by one table.
    if not binary and all(is_wide_function(target) for target in targets if is_table_function(target)):
        return False
    # A number behind a table: what cancels against it would be left with few of the table's 16 bits.
    shifted = targets[-1] in SHIFTS
    clipped_product = aten.clamp.default in targets and aten.mul.Tensor in targets
    return clipped_product or (tables > 0 and tables + binary + shifted > 1)


def _steps(source: fx.Node, inner: list[fx.Node]) -> list[str]:
    """The steps of a composition that computes ``inner``, whose last node gives the result."""
    values = {source: Value(0)}
    steps = []
    for node in inner:
        arguments = tuple(values[argument] if isinstance(argument, fx.Node) else argument for argument in node.args)
        steps.append(str(Step(node.target, arguments, tuple(node.kwargs.items()))))
        values[node] = Value(len(steps))
    return steps
