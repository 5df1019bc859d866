"""The stages of a model and what is legal in each: targets and dtypes, checked after every pass."""

from __future__ import annotations

import enum
import operator

import torch
from torch import fx

from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.facts import describe


class Stage(enum.Enum):
    """Where a model stands on its way from float to integer."""

    SOURCE = "source"        # what an importer or the capture gave
    FLOAT = "float"          # closed set of operators that have a Transformer
    OBSERVED = "observed"    # float with observer modules
    INTEGER = "integer"      # torch.ops.cvm operators on int32 only
    RESTORED = "restored"    # integer with islands kept in float on request: a debugging aid


def check_stage(module: fx.GraphModule, stage: Stage) -> None:
    """Raise unless every node of the graph is legal in ``stage``.

    Raises:
        InvalidGraphError: lists every illegal node with its reason.
    """
    reasons = []
    for node in module.graph.nodes:
        reason = _illegal(node, module, stage)
        if reason:
            reasons.append(f"{describe(node)}: {reason}")
    if reasons:
        raise InvalidGraphError(f"the graph is not legal in the {stage.value} stage", why="; ".join(reasons[:20]),
                                remedy="a pass or a Transformer left an operator that this stage does not allow")


def _illegal(node: fx.Node, module: fx.GraphModule, stage: Stage) -> str | None:
    if node.op in ("placeholder", "output"):
        return None
    if node.op == "get_attr":
        return _illegal_constant(getattr(module, node.target, None), stage)
    if node.op == "call_module":
        return None if stage is Stage.OBSERVED else "modules are legal in the observed stage only"
    if node.op != "call_function":
        return f"'{node.op}' nodes are not legal in any stage"
    if stage is Stage.INTEGER:
        if node.target is operator.getitem and getattr(OPERATORS.of_target(node.args[0].target), "outputs", 1) > 1:
            return None
        return None if OPERATORS.of_target(node.target) else f"{node.target} is not a CVM operator"
    if stage in (Stage.SOURCE, Stage.RESTORED):
        return None
    from mrt_torch.ops.registry import TRANSFORMERS  # the registry's operators import this package
    known = node.target is operator.getitem or node.target in TRANSFORMERS
    if known and not OPERATORS.of_target(node.target):
        return None
    return f"no Transformer is registered for {node.target}"


def _illegal_constant(value: object, stage: Stage) -> str | None:
    if not isinstance(value, torch.Tensor):
        return "the constant is missing"
    if stage is Stage.INTEGER and value.dtype is not torch.int32:
        return f"a constant of the integer stage is int32, not {value.dtype}"
    return None
