"""Turns an exported program into a graph of canonical ATen operators without side effects."""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

import mrt_torch.graph.canonical_forms  # noqa: F401  (registers the canonical forms)
from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.batch_axis import BatchAxis, SymbolicSize, is_free
from mrt_torch.graph.canonical_forms.factory import constant_value
from mrt_torch.graph.canonical_forms.slicing import get_item
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.facts import describe, set_facts, source_name
from mrt_torch.graph.functionalize import (
    Values,
    functional_target,
    viewed_argument,
    written_argument,
)
from mrt_torch.graph.runner import finish
from mrt_torch.graph.source_call import CANONICAL_FORMS, Call, Value
from mrt_torch.graph.source_names import SourceNames
from mrt_torch.graph.stage import Stage

logger = logging.getLogger(__name__)

aten = torch.ops.aten
REGIONS = {"wrap_with_set_grad_enabled": 1, "wrap_with_autocast": 4}  # position of the body among the arguments
CHECKS = ("_assert", "sym_constrain_range", "_guards_fn")


def canonicalize(program: ExportedProgram, tensors: Mapping[str, torch.Tensor], batch: BatchAxis) -> fx.GraphModule:
    """The float graph of an exported program, in the SOURCE stage.

    Operators get the forms of ``CANONICAL_FORMS``; what has none stays as it is, for validation to list. Operators
    that work in place become functional, aliases included. Assertions and unused tensors are dropped.

    Args:
        program: made by ``torch.export.export``, not decomposed.
        tensors: parameters, buffers and constants by name; they are shared, not copied.
        batch: the free axis, see ``BatchAxis``.

    Raises:
        UnsupportedOperatorError: an in-place operator or a data-dependent shape cannot be expressed, or the result
            depends on a buffer that the module changes.
    """
    return _Canonicalizer(program, tensors, batch).run()


class _Canonicalizer:
    def __init__(self, program: ExportedProgram, tensors: Mapping[str, torch.Tensor], batch: BatchAxis):
        self._program, self._tensors, self._batch = program, tensors, batch
        self._editor = GraphEditor(empty_graph_module())
        self._values = Values(self._converted)
        self._names = SourceNames()
        self._constants: dict[int, fx.Node] = {}
        self._first_names = {id(tensor): name for name, tensor in reversed(tensors.items())}
        self._parameters: dict[fx.Node, str] = {}
        self._regions: dict[fx.Node, list[Any]] = {}
        self._written: dict[str, fx.Node] = {}
        self._folded: list[torch.Tensor] = []

    def run(self) -> fx.GraphModule:
        signature = self._program.graph_signature
        kinds = {spec.arg.name: spec for spec in signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op != "placeholder":
                continue
            spec = kinds[node.name]
            if spec.kind is InputKind.USER_INPUT:
                self._define_input(node)
            else:
                self._parameters[node] = spec.target
                self._values.define_later(node)
        self._walk(self._program.graph_module)
        self._editor.output(self._outputs())
        module = self._editor.module
        finish(module, Stage.SOURCE)
        self._refuse_state(module)
        return module

    def _define_input(self, node: fx.Node) -> None:
        if not isinstance(node.meta.get("val"), torch.Tensor):
            self._values.define(node, None)
            return
        value = node.meta["val"]
        defined = self._editor.input(node.name, self._batch.shape_of(node), value.dtype)
        set_facts(defined, batch_axis=self._batch.axis)
        self._values.define(node, defined)

    def _constant(self, name: str) -> fx.Node:
        tensor = self._tensors[name]
        if id(tensor) not in self._constants:  # one parameter used by two layers stays one
            self._constants[id(tensor)] = self._editor.constant(self._first_names[id(tensor)], tensor)
        return self._constants[id(tensor)]

    def _walk(self, module: fx.GraphModule) -> None:
        for node in module.graph.nodes:
            if node.op == "get_attr":
                self._define_attribute(module, node)
            elif node.op == "call_function" and not self._is_check(node):
                self._names.annotate(node)
                self._visit(node)

    def _define_attribute(self, module: fx.GraphModule, node: fx.Node) -> None:
        value = operator.attrgetter(node.target)(module)
        if isinstance(value, torch.Tensor):
            self._values.define(node, self._editor.constant(node.target, value))
        else:
            self._regions[node] = [value]

    @staticmethod
    def _is_check(node: fx.Node) -> bool:
        return any(word in str(node.target) for word in CHECKS)

    def _visit(self, node: fx.Node) -> None:
        region = REGIONS.get(getattr(node.target, "__name__", ""), None)
        if region is not None:
            self._inline(node, node.args[region], node.args[region + 1:])
        elif node.target is operator.getitem and node.args[0] in self._regions:
            self._define_region_output(node)
        elif isinstance(node.target, torch._ops.HigherOrderOperator):
            raise UnsupportedOperatorError(f"{node.target} cannot be captured", where=describe(node),
                                           why="its branches depend on values",
                                           remedy="split the model before it, or write the model without it")
        elif isinstance(node.meta.get("val"), (torch.SymInt, torch.SymFloat, torch.SymBool, int, float, bool)):
            self._values.define(node, self._size(node))
        else:
            self._define(node)

    def _size(self, node: fx.Node) -> Value:
        value = node.meta["val"]
        if isinstance(value, (int, float, bool)):
            return value
        if isinstance(value, torch.SymInt) and not is_free(value):
            return self._batch.concrete(value, node)
        return SymbolicSize(node)

    def _define(self, node: fx.Node) -> None:
        written = written_argument(node)
        if written is not None:
            self._values.write(written, self._converted(node), self._call)
            self._values.define_same(node, written)
            owner = self._values.owner(written)
            if owner in self._parameters:
                self._written[self._parameters[owner]] = node
            return
        parent = viewed_argument(node)
        value = self._converted(node)
        if parent is None:
            self._values.define(node, value)
        else:
            self._values.define_view(node, parent, value)

    def _inline(self, node: fx.Node, body: fx.Node, arguments: tuple) -> None:
        if "autocast" in str(node.target) and node.args[2]:
            logger.warning("the autocast region at %s is captured in the dtype of its inputs", describe(node))
        module = self._regions[body][0]
        inputs = [inner for inner in module.graph.nodes if inner.op == "placeholder"]
        for inner, outer in zip(inputs, arguments, strict=True):
            if isinstance(outer, fx.Node):
                self._values.define_same(inner, outer)
            else:
                self._values.define(inner, outer)
        self._walk(module)
        returned = next(inner for inner in module.graph.nodes if inner.op == "output").args[0]
        self._regions[node] = list(returned) if isinstance(returned, (tuple, list)) else [returned]

    def _define_region_output(self, node: fx.Node) -> None:
        inner = self._regions[node.args[0]][node.args[1]]
        if isinstance(inner, fx.Node):
            self._values.define_same(node, inner)
        else:
            self._values.define(node, inner)

    def _call(self, node: fx.Node) -> Call:
        return Call(node, functional_target(node), self._resolved(node.args), self._resolved(node.kwargs),
                    self._editor, self._batch, self._materialised)

    def _resolved(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return self._values.read(argument)
        if isinstance(argument, (tuple, list)):
            return tuple(self._resolved(item) for item in argument) if isinstance(argument, tuple) \
                else [self._resolved(item) for item in argument]
        if isinstance(argument, dict):
            return {key: self._resolved(item) for key, item in argument.items()}
        return argument

    def _converted(self, node: fx.Node) -> Value:
        """The node's result, computed from what its inputs hold now."""
        if node in self._parameters:
            return self._constant(self._parameters[node])
        with self._editor.inheriting(node):
            call = self._call(node)
            value = self._form(call)
            self._folded += call.folded
            written = written_argument(node)
            if written is not None:
                value = self._in_dtype(call, value, written)
        self._names.apply(node, value, call.created)
        return value

    def _form(self, call: Call) -> Value:
        if call.target is operator.getitem:
            return get_item(call)
        constant = constant_value(call)
        if constant is not None:
            return self._editor.constant(source_name(call.node), constant)
        form = CANONICAL_FORMS.get(call.target)
        return call.keep() if form is None else form(call)

    @staticmethod
    def _in_dtype(call: Call, value: Value, written: fx.Node) -> Value:
        """An in-place operator keeps the dtype of the tensor it writes into."""
        dtype = written.meta["val"].dtype
        if isinstance(value, fx.Node) and value.meta["val"].dtype != dtype:
            return call.emit(aten._to_copy.default, value, dtype=dtype)
        return value

    def _materialised(self, size: SymbolicSize) -> fx.Node | int:
        node = size.node
        arguments = self._resolved(node.args)
        plain = tuple(self._materialised(a) if isinstance(a, SymbolicSize) else a for a in arguments)
        return self._editor.call(node.target, *plain)

    def _outputs(self) -> list[fx.Node]:
        returned = next(node for node in self._program.graph.nodes if node.op == "output").args[0]
        outputs = []
        for position, (node, spec) in enumerate(
                zip(returned, self._program.graph_signature.output_specs, strict=True)):
            if spec.kind is not OutputKind.USER_OUTPUT:  # a buffer that forward assigns to
                self._written[spec.target] = node
                continue
            value = self._values.read(node) if isinstance(node, fx.Node) else node
            if isinstance(value, fx.Node):
                outputs.append(value)
            else:
                logger.warning("output %d is no tensor but %s: it is dropped", position, value)
        if not outputs:
            raise UnsupportedOperatorError("the module returns no tensor", remedy="return at least one tensor")
        return outputs

    def _refuse_state(self, module: fx.GraphModule) -> None:
        """Refuse results that depend on a tensor the module changes, here or through another view of it."""
        storages = {self._tensors[name].untyped_storage().data_ptr(): name for name in self._written
                    if name in self._tensors}
        read = [getattr(module, node.target) for node in module.graph.nodes if node.op == "get_attr"]
        for tensor in [*read, *self._folded]:
            name = storages.get(tensor.untyped_storage().data_ptr())
            if name is not None:
                raise UnsupportedOperatorError(
                    f"the result depends on '{name}', which the module changes every time it runs",
                    where=describe(self._written[name]),
                    remedy="keep the tensor constant in evaluation mode, or pass it as an input")
