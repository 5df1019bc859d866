"""Channel-wise granularity: splits operators over slices of their input channels, where the configuration says so."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import fx

from mrt_torch.configuration import CHANNEL_WISE, LAYER_WISE
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.facts import describe
from mrt_torch.ops.registry import apply_pass
from mrt_torch.passes.configure import Configuration, given_configuration, is_sliceable
from mrt_torch.passes.names import claim_name
from mrt_torch.passes.symbol import Params, Symbol, edited

aten = torch.ops.aten
LAYER_WISE_INFO = {"gn_type": LAYER_WISE}


def sym_slice_channel(symbol: Symbol, params: Params, cfg_dict: MutableMapping[Any, Any] | None = None
                      ) -> tuple[Symbol, dict[str, torch.Tensor]]:
    """The graph with every channel-wise operator sliced, and its parameters by name.

        x ──> conv     =>     x ──> slice ──> conv ──> + ──>         gn_info: channel-wise, ichannel 1, step C / 2
                              └───> slice ──> conv ────┘

    Equal but for the order of sums; see ``mrt_torch.ops.channel_slices``. The last new node takes over the name of the
    operator. ``cfg_dict`` becomes the configuration of the graph that is returned, by node name, as the original does
    it: new nodes are layer-wise, with the quantizer and optimizor of the operator, its input or its weight; so are now
    the input and the weight. Without channel-wise nodes the graph stays as it is. (MRT GEN,
    ``tfm_pass.sym_slice_channel``.)

    Args:
        symbol: prepared Model or its GraphModule, which stays as it is; the result is of the same kind.
        params: tensors that replace the graph's own, by name; None or {} keeps them.
        cfg_dict: as ``sym_config_infos`` takes or returns it; changed in place.

    Raises:
        InvalidArgumentError: ``ichannel`` is not 1; the step does not divide the channels or leaves one slice; the
            node is no convolution or dense layer, nor an operand of one that is sliced.
    """
    configuration: Configuration = {}

    def slice_configured(module: fx.GraphModule) -> int:
        configuration.update(given_configuration(module, cfg_dict or {}))
        return slice_channel(module, configuration)

    result = edited(symbol, params, slice_configured)
    if cfg_dict is not None:
        cfg_dict.clear()
        cfg_dict.update(configuration)
    return result


def slice_channel(module: fx.GraphModule, configuration: Configuration) -> int:
    """``sym_slice_channel`` in place, on graph and configuration; returns how many operators were sliced.

    Raises:
        InvalidArgumentError: see ``sym_slice_channel``.
    """
    wanted = {node: configuration[node.name]["gn_info"] for node in module.graph.nodes
              if configuration.get(node.name, {}).get("gn_info", {}).get("gn_type") == CHANNEL_WISE}
    sliced = [node for node in wanted if is_sliceable(node)]
    operands = {operand for node in sliced for operand in node.all_input_nodes}
    for node in wanted:
        if node not in operands and node not in sliced:
            raise InvalidArgumentError("channel-wise granularity is for convolutions and dense layers",
                                       where=describe(node), why=f"saw {wanted[node]!r}",
                                       remedy="use the key 'op:Convolution', or make this node layer-wise")
    for node in operands:
        _make_layer_wise(node, configuration)
    editor = GraphEditor(module)
    for node in sliced:
        _slice(node, wanted[node], editor, configuration)
    order = {node.name: position for position, node in enumerate(module.graph.nodes)}
    in_order = {name: configuration[name] for name in sorted(configuration, key=order.__getitem__)}
    configuration.clear()
    configuration.update(in_order)
    return len(sliced)


def _slice(node: fx.Node, gn_info: dict[str, Any], editor: GraphEditor, configuration: Configuration) -> None:
    before, name, (x, weight, *_) = node.prev, node.name, node.args
    _make_layer_wise(node, configuration)
    with editor.before(node):
        replacement = apply_pass("slice_channel", node, editor=editor, gn_info=gn_info)
    new = before
    while (new := new.next) is not node:
        like = x if new.target is aten.slice.Tensor else weight if new.op == "get_attr" else node
        if like.name in configuration:
            configuration[new.name] = {**configuration[like.name], "gn_info": dict(LAYER_WISE_INFO)}
    own = configuration.pop(replacement.name, None)
    for erased in editor.replace(node, replacement):
        configuration.pop(erased.name, None)
    claim_name(replacement, name)
    if own is not None:
        configuration[name] = own


def _make_layer_wise(node: fx.Node, configuration: Configuration) -> None:
    if "gn_info" in configuration.get(node.name, {}):
        configuration[node.name] = {**configuration[node.name], "gn_info": dict(LAYER_WISE_INFO)}
