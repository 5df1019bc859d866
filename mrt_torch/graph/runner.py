"""Runs passes: each works on a copy that shares all tensors, and is checked when it is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import fx, nn

from mrt_torch.graph.shapes import refresh_values
from mrt_torch.graph.stage import Stage, check_stage

logger = logging.getLogger(__name__)

GraphPass = Callable[[fx.GraphModule], int]


@dataclass(frozen=True)
class PassResult:
    """What passes made, and how often they fired together."""

    module: fx.GraphModule
    firings: int


def copy_graph_module(module: fx.GraphModule) -> fx.GraphModule:
    """A GraphModule with its own graph and node metadata that shares every tensor with ``module``."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in module.graph.nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    return _with_shared_tensors(module, graph)


def _with_shared_tensors(module: fx.GraphModule, graph: fx.Graph) -> fx.GraphModule:
    root = nn.Module()
    for node in graph.nodes:
        if node.op == "get_attr":
            root.register_buffer(node.target, getattr(module, node.target), persistent=True)
        elif node.op == "call_module":
            setattr(root, node.target, getattr(module, node.target))
    return fx.GraphModule(root, graph)


def run_pass(module: fx.GraphModule, graph_pass: GraphPass, stage: Stage) -> PassResult:
    """Run one pass on a copy of ``module``, then lint, drop what is dead, refresh shapes and check the stage.

    ``graph_pass`` edits the copy and returns how often it fired.

    Raises:
        InvalidGraphError: the result is not legal in ``stage``.
    """
    return run_passes(module, [(graph_pass, stage)])


def run_passes(module: fx.GraphModule, passes: Iterable[tuple[GraphPass, Stage]]) -> PassResult:
    """Run passes one after another on one copy of ``module``, with the same care after each; counts all firings.

    Raises:
        InvalidGraphError: a pass left something that is not legal in the stage beside it.
    """
    working, total = copy_graph_module(module), 0
    for graph_pass, stage in passes:
        firings = graph_pass(working)
        _clean(working, stage)
        plain = getattr(graph_pass, "func", graph_pass)  # of a functools.partial
        logger.info("%s fired %d times", getattr(plain, "__name__", plain), firings)
        total += firings
    working.recompile()
    return PassResult(working, total)


def finish(module: fx.GraphModule, stage: Stage) -> None:
    """Leave an edited graph clean: no dead nodes or buffers, current shapes, legal, compiled."""
    _clean(module, stage)
    module.recompile()


def _clean(module: fx.GraphModule, stage: Stage) -> None:
    module.graph.eliminate_dead_code()
    drop_unused_buffers(module)
    refresh_values(module)
    module.graph.lint()
    check_stage(module, stage)


def drop_unused_buffers(module: fx.GraphModule) -> int:
    """Delete the buffers no get_attr node reads; return how many there were."""
    used = {node.target for node in module.graph.nodes if node.op == "get_attr"}
    unused = [name for name, _ in module.named_buffers() if name not in used]
    for name in unused:
        delattr(module, name)
    return len(unused)
