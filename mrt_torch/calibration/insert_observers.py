"""Puts an observer behind every activation."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import fx, nn

from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.graph.stage import Stage, check_stage

SUFFIX = "_observer"

#: Makes the observer of a node: called with the node, or without arguments where that is possible (a class).
ObserverFactory = Callable[[fx.Node], nn.Module] | Callable[[], nn.Module]


def insert_observers(module: fx.GraphModule, make: ObserverFactory) -> tuple[fx.GraphModule, dict[str, nn.Module]]:
    """Observed graph and its observers by the name of the node they watch; the given module stays as it is.

        x ──> conv ──> relu     =>     x ──> o1 ──> conv ──> o2 ──> relu ──> o3

    Parameters are not observed: they are measured once, when they are quantized. ``make`` sees the nodes of ``module``.
    """
    make = of_node(make)
    observed = copy_graph_module(module)
    observers: dict[str, nn.Module] = {}
    for original, node in zip(list(module.graph.nodes), list(observed.graph.nodes), strict=True):
        if node.op not in ("placeholder", "call_function") or not isinstance(node.meta["val"], torch.Tensor):
            continue
        observer = make(original)
        observed.add_submodule(node.name + SUFFIX, observer)
        with observed.graph.inserting_after(node):
            watch = observed.graph.call_module(node.name + SUFFIX, (node,))
        watch.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(watch, delete_user_cb=lambda user, watch=watch: user is not watch)
        observers[node.name] = observer
    check_stage(observed, Stage.OBSERVED)
    observed.recompile()
    return observed, observers


def of_node(make: ObserverFactory) -> Callable[[fx.Node], nn.Module]:
    """``make`` as a function of the node."""
    try:
        inspect.signature(make).bind()
    except (TypeError, ValueError):  # it needs an argument, or does not say
        return make
    return lambda node: make()
