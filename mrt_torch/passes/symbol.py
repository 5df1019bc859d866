"""A graph and its parameters as two things, which is how MRT's graph functions take and return them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.facts import describe, source_name
from mrt_torch.graph.runner import copy_graph_module, run_pass
from mrt_torch.graph.stage import Stage, check_stage
from mrt_torch.input_data import as_tensor

if TYPE_CHECKING:  # mrt_torch.model imports the passes
    from mrt_torch.model import Model

Symbol: TypeAlias = "fx.GraphModule | Model"
Params = Mapping[str, Any] | None


def graph_of(symbol: Symbol, params: Params = None) -> fx.GraphModule:
    """A copy of a prepared float graph, its constants replaced by the tensors that ``params`` has for them.

    Args:
        symbol: prepared Model, or its GraphModule. The copy shares the tensors that are not replaced.
        params: tensors by source name of a constant, or by the name of its buffer; None or {} keeps all.

    Raises:
        InvalidArgumentError: not a prepared float graph; a name the graph does not have, as of a parameter that
            prepare folded into another; a tensor of another shape.
    """
    if is_model(symbol):
        if not symbol.prepared or symbol.is_quantized:
            raise InvalidArgumentError("a prepared float model is needed", why=f"saw {symbol!r}",
                                       remedy="call model.prepare(input_shape) first, and quantize last")
        symbol = symbol.module
    if not isinstance(symbol, fx.GraphModule):
        raise InvalidArgumentError("a symbol is a prepared Model or its GraphModule",
                                   why=f"saw {type(symbol).__name__}", remedy="pass model, or model.module")
    module = copy_graph_module(symbol)
    check_stage(module, Stage.FLOAT)
    if params:
        _replace(module, params)
    module.recompile()
    return module


def is_model(symbol: Any) -> bool:
    """Whether a symbol is a Model, not a GraphModule."""
    from mrt_torch.model import Model
    return isinstance(symbol, Model)


def _replace(module: fx.GraphModule, params: Mapping[str, Any]) -> None:
    named = {alias: node for node, name in _name_in_params(module).items() for alias in (node.target, name)}
    unknown = [name for name in params if name not in named]
    if unknown:
        raise InvalidArgumentError(f"the graph has no parameters {unknown[:10]}", where="params",
                                   why=f"it has {sorted(params_of(module))[:20]}",
                                   remedy="pass the params that belong to this graph; prepare folds and renames those "
                                          "of the model it is given")
    for name, array in params.items():
        node, tensor = named[name], as_tensor(array)
        old = getattr(module, node.target)
        if tensor.shape != old.shape:
            raise InvalidArgumentError(f"parameter '{name}' has another shape", where=describe(node),
                                       why=f"saw {tuple(tensor.shape)}, the graph has {tuple(old.shape)}",
                                       remedy="pass a tensor of the shape that the graph was written for")
        module.register_buffer(node.target, tensor.detach().to(old.dtype))


def params_of(module: fx.GraphModule) -> dict[str, torch.Tensor]:
    """The graph's constants by source name; where several have one name, by the names of their buffers."""
    return {name: getattr(module, node.target) for node, name in _name_in_params(module).items()}


def _name_in_params(module: fx.GraphModule) -> dict[fx.Node, str]:
    constants = {node.target: node for node in module.graph.nodes if node.op == "get_attr"}
    count = Counter(map(source_name, constants.values()))
    return {node: source_name(node) if count[source_name(node)] == 1 else node.target for node in constants.values()}


def edited(symbol: Symbol, params: Params, graph_pass: Callable[[fx.GraphModule], int]
           ) -> tuple[Symbol, dict[str, torch.Tensor]]:
    """``symbol`` after a pass, of the kind that was given, and its params; the one given stays as it is.

    Raises:
        InvalidArgumentError: see ``graph_of``.
        InvalidGraphError: the pass left something illegal.
    """
    module = run_pass(graph_of(symbol, params), graph_pass, Stage.FLOAT).module
    if is_model(symbol):
        return type(symbol)(module, Stage.FLOAT, prepared=True, joined=symbol.joined), params_of(module)
    return module, params_of(module)
