"""Creating and changing nodes: the one way importers, passes and quantizers write into a graph."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.facts import describe, facts_of, set_facts, source_name
from mrt_torch.graph.shapes import example_shape, infer_value, meta_tensor

# What a node that replaces another keeps of it, so that messages can quote the user's own source line.
INHERITED_META = ("stack_trace", "nn_module_stack", "from_node", "mrt")


def sanitise(name: str) -> str:
    """A Python identifier made from any model's node name: other characters become ``_``."""
    identifier = re.sub(r"\W", "_", name, flags=re.ASCII)
    unusable = not identifier or identifier[0].isdigit() or keyword.iskeyword(identifier) or identifier == "__debug__"
    return f"n_{identifier}" if unusable else identifier


def empty_graph_module() -> fx.GraphModule:
    """A GraphModule without nodes, to be filled by a GraphEditor."""
    return fx.GraphModule(nn.Module(), fx.Graph())


class GraphEditor:
    """Writes nodes into a GraphModule; every node it creates has its ``val``.

    Nodes go to the end of the graph, or before the node given to ``before``.
    """

    def __init__(self, module: fx.GraphModule):
        self.module = module
        self.graph = module.graph
        self._like: fx.Node | None = None
        self._repeats: dict[str, int] = {}  # how often a constant's name was taken, so that many alike stay fast

    @contextmanager
    def before(self, node: fx.Node) -> Iterator[GraphEditor]:
        """Within the block, new nodes stand before ``node`` and inherit its source facts."""
        outer, self._like = self._like, node
        try:
            with self.graph.inserting_before(node):
                yield self
        finally:
            self._like = outer

    @contextmanager
    def inheriting(self, node: fx.Node) -> Iterator[GraphEditor]:
        """Within the block, new nodes inherit the source facts of ``node``, which may be of another graph."""
        outer, self._like = self._like, node
        try:
            yield self
        finally:
            self._like = outer

    def input(self, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> fx.Node:
        """A placeholder; one extent of ``shape`` is an example of the batch, which stays free.

        The batch is the axis marked by -1, whose example is then 1, and axis 0 where none is marked.

        Raises:
            InvalidGraphError: the extents are beyond what a tensor can have.
        """
        shape, marked = example_shape(shape)
        value = meta_tensor(shape, dtype, f"input '{name}'")
        node = self.graph.placeholder(sanitise(name))
        node.meta["val"] = value
        set_facts(node, source_name=name, batch_axis=marked or 0)
        return node

    def constant(self, name: str, tensor: torch.Tensor) -> fx.Node:
        """A buffer of the module and the get_attr node that reads it; ``name`` is made unique."""
        attribute = base = sanitise(name)
        while hasattr(self.module, attribute):
            self._repeats[base] = self._repeats.get(base, 0) + 1
            attribute = f"{base}_{self._repeats[base]}"
        self.module.register_buffer(attribute, tensor.detach())
        node = self.graph.get_attr(attribute)
        node.meta["val"] = torch.empty_like(tensor, device="meta")
        set_facts(node, source_name=name)
        return node

    def call(self, target: Callable, *args: Any, name: str | None = None, source_operator: str | None = None,
             **kwargs: Any) -> fx.Node:
        """A call_function node.

        Raises:
            InvalidGraphError: the target refuses the shapes or dtypes of its arguments.
        """
        node = self.graph.create_node("call_function", target, args, kwargs, name and sanitise(name))
        if self._like is not None:
            for key in INHERITED_META:
                if key in self._like.meta:
                    node.meta[key] = self._like.meta[key]
        if name is not None:
            set_facts(node, source_name=name)
        if source_operator is not None:
            set_facts(node, source_operator=source_operator)
        node.meta["val"] = infer_value(node)
        return node

    def output(self, nodes: Sequence[fx.Node]) -> fx.Node:
        """The output node: always a tuple, also for one output."""
        node = self.graph.output(tuple(nodes))
        node.meta["val"] = tuple(n.meta["val"] for n in nodes)
        return node

    def replace(self, old: fx.Node, new: fx.Node) -> set[fx.Node]:
        """Let every reader of ``old`` read ``new``, and erase what nothing reads any more; returns what was erased.

        ``new`` takes the facts it lacks from ``old``. Erasing at once keeps ``users`` honest for the next rule.
        """
        for key in INHERITED_META:
            if key in old.meta and key not in new.meta:
                new.meta[key] = old.meta[key]
        old.replace_all_uses_with(new)
        return self.erase_unread(old)

    def erase_unread(self, node: fx.Node) -> set[fx.Node]:
        """Erase a node without readers, and its inputs that lose their last reader by it; returns what was erased."""
        erased: set[fx.Node] = set()
        pending = [node]
        while pending:
            candidate = pending.pop()
            if candidate in erased or candidate.users or candidate.op in ("placeholder", "output"):
                continue
            inputs = candidate.all_input_nodes
            self.graph.erase_node(candidate)
            erased.add(candidate)
            pending += inputs
        return erased

    def tensor_of(self, node: fx.Node) -> torch.Tensor:
        """The tensor behind a get_attr node."""
        return tensor_of(self.module, node)


def tensor_of(module: fx.GraphModule, node: fx.Node) -> torch.Tensor:
    """The buffer behind a get_attr node.

    Raises:
        InvalidGraphError: the node is no constant, or its buffer is missing.
    """
    if node.op != "get_attr":
        raise InvalidGraphError("a constant was expected", where=describe(node), why=f"the node is a {node.op}",
                                remedy="pass a get_attr node")
    value = getattr(module, node.target, None)
    if not isinstance(value, torch.Tensor):
        raise InvalidGraphError(f"buffer '{node.target}' is missing", where=describe(node),
                                remedy="build the graph with GraphEditor.constant")
    return value


def output_nodes(graph: fx.Graph) -> list[fx.Node]:
    """The nodes a graph returns, in order."""
    returned = next(node for node in reversed(graph.nodes) if node.op == "output").args[0]
    return list(returned) if isinstance(returned, (tuple, list)) else [returned]


def output_names(graph: fx.Graph) -> list[str]:
    """What the outputs of a graph are called, in order: as their nodes are, unless the graph is a lower half."""
    nodes = output_nodes(graph)
    names = facts_of(next(node for node in reversed(graph.nodes) if node.op == "output")).output_names or ()
    return list(names) if len(names) == len(nodes) else [source_name(node) for node in nodes]


def input_nodes(graph: fx.Graph) -> list[fx.Node]:
    """The placeholders of a graph, in order."""
    return [node for node in graph.nodes if node.op == "placeholder"]


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of a node's value."""
    return tuple(node.meta["val"].shape)
