"""Shapes and dtypes of every node, refreshed only where something changed.

A value is a tensor on the meta device with a concrete example batch: an order of magnitude cheaper than symbolic
shapes, which matters on graphs of a thousand nodes. The batch axis stays free because graphs are written that way
(reshapes use -1), which ``free_axis.is_batch_free`` proves by computing the shapes for another batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.facts import describe, set_facts

SIGNATURE = "mrt_signature"


def meta_tensor(shape: Sequence[int], dtype: torch.dtype, where: str) -> torch.Tensor:
    """A tensor without values, for an input whose shape comes from a file or a user.

    Raises:
        InvalidGraphError: the extents are beyond what a tensor can have.
    """
    try:
        return torch.empty(tuple(shape), dtype=dtype, device="meta")
    except (RuntimeError, TypeError, OverflowError) as error:
        raise InvalidGraphError("a tensor cannot have this shape", where=where, why=f"saw {tuple(shape)!r:.200}",
                                remedy="give extents from 0 on whose product is below 2**63 bytes") from error


def example_shape(shape: Sequence[int]) -> tuple[tuple[int, ...], int | None]:
    """A shape in which one -1 may mark the batch axis: the shape with 1 there, and that axis, None without a mark."""
    marked = [axis for axis, extent in enumerate(shape) if extent == -1]
    if len(marked) != 1:
        return tuple(shape), None
    return tuple(1 if axis == marked[0] else extent for axis, extent in enumerate(shape)), marked[0]


def infer_value(node: fx.Node) -> Any:
    """Value (meta tensor or tuple of them) of a call_function or call_module node from its arguments' values.

    Raises:
        InvalidGraphError: the operator refuses its arguments.
    """
    node.meta[SIGNATURE] = _signature(node)
    try:
        return value_for(node, lambda source: source.meta["val"])
    except (RuntimeError, ValueError, IndexError, TypeError, ArithmeticError) as error:
        seen = [tuple(n.meta["val"].shape) for n in node.all_input_nodes if isinstance(n.meta["val"], torch.Tensor)]
        raise InvalidGraphError(
            f"{node.target} refuses its arguments", where=describe(node),
            why=f"input shapes {seen}: {str(error).strip().splitlines()[0] if str(error).strip() else error!r}",
            remedy="check the input shape given to prepare, and the parameter shapes of the model") from error


def value_for(node: fx.Node, value_of: Callable[[fx.Node], Any]) -> Any:
    """Value of a call_function or call_module node when its inputs have the values ``value_of`` gives."""
    args, kwargs = fx.map_arg((node.args, node.kwargs), value_of)
    return args[0] if node.op == "call_module" else node.target(*args, **kwargs)


def refresh_values(module: fx.GraphModule) -> int:
    """Recompute ``val`` where a node is new, was edited, or reads a value that changed; return how many."""
    refreshed = 0
    for node in module.graph.nodes:
        if node.op in ("call_function", "call_module"):
            if "val" not in node.meta or node.meta.get(SIGNATURE) != _signature(node):
                node.meta["val"] = infer_value(node)
                refreshed += 1
        elif node.op == "get_attr" and "val" not in node.meta:
            node.meta["val"] = torch.empty_like(getattr(module, node.target), device="meta")
        elif node.op == "output":
            node.meta["val"] = fx.map_arg(node.args[0], lambda n: n.meta["val"])
    return refreshed


def propagate(module: fx.GraphModule, input_shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Values of all nodes by name for other input shapes; the graph keeps its own.

    Raises:
        InvalidGraphError: an operator refuses the shapes.
    """
    values: dict[fx.Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "placeholder":
            shape = input_shapes.get(node.name, tuple(node.meta["val"].shape))
            values[node] = torch.empty(shape, dtype=node.meta["val"].dtype, device="meta")
        elif node.op == "get_attr":
            values[node] = node.meta["val"]
        elif node.op == "call_module":
            values[node] = values[node.args[0]]
        elif node.op == "call_function":
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            try:
                values[node] = node.target(*args, **kwargs)
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                raise InvalidGraphError(f"{node.target} refuses its arguments", where=describe(node),
                                        why=str(error).strip().splitlines()[0],
                                        remedy=f"the graph was built for other shapes than {dict(input_shapes)}"
                                        ) from error
    return {node.name: value for node, value in values.items()}


def set_input_shapes(module: fx.GraphModule, input_shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give placeholders new example shapes and refresh everything that follows; see ``example_shape`` for -1."""
    for node in module.graph.nodes:
        if node.op == "placeholder" and node.name in input_shapes:
            shape, marked = example_shape(input_shapes[node.name])
            node.meta["val"] = meta_tensor(shape, node.meta["val"].dtype, describe(node))
            if marked is not None:
                set_facts(node, batch_axis=marked)
    refresh_values(module)


def _signature(node: fx.Node) -> tuple:
    """What a node's value depends on: target, literal arguments, and shapes and dtypes of what it reads."""
    return (node.target, _frozen(node.args), _frozen(tuple(sorted(node.kwargs.items()))))


def _frozen(argument: Any) -> Any:
    if isinstance(argument, fx.Node):
        return _frozen_value(argument.meta.get("val"))
    if isinstance(argument, (tuple, list)):
        return tuple(_frozen(item) for item in argument)
    return argument


def _frozen_value(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return (tuple(value.shape), value.dtype)
    if isinstance(value, (tuple, list)):
        return tuple(_frozen_value(item) for item in value)
    return value
