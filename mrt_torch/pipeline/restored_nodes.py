"""Which nodes ``Restore_name`` keeps in float. (MRT main2.)"""

from __future__ import annotations

from collections.abc import Sequence

from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.facts import source_name
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.passes.split import find_node

ALL_EXCEPT = "_ALL_EXCEPT_"
OPERATOR = "_OP_"


def restored_nodes(module: fx.GraphModule, names: Sequence[str]) -> list[str]:
    """Names of the nodes of a prepared graph that stay in float, in the order they run.

    Args:
        module: prepared float graph.
        names: node names; ``_OP_<operator>`` stands for all nodes of an operator by its MXNet name, and
            ``_ALL_EXCEPT_`` among them turns the choice round.

    Raises:
        InvalidArgumentError: a name is no node, or an operator that the graph does not have.
    """
    operators = {node: TRANSFORMERS.of_node(node).op_name for node in module.graph.nodes if node.op == "call_function"}
    chosen: set[fx.Node] = set()
    for name in names:
        if name == ALL_EXCEPT:
            continue
        if name.startswith(OPERATOR):
            found = [node for node, operator in operators.items() if operator == name.removeprefix(OPERATOR)]
            if not found:
                raise InvalidArgumentError(
                    f"the prepared graph has no operator '{name.removeprefix(OPERATOR)}'",
                    why=f"it has {', '.join(sorted(set(operators.values())))}", remedy="name one of them")
            chosen.update(found)
        else:
            chosen.add(find_node(module, name))
    if ALL_EXCEPT in names:
        chosen = operators.keys() - chosen
    return [source_name(node) for node in operators if node in chosen]
