"""How large a quantized model is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from mrt_torch.cvm.gas import gas
from mrt_torch.deployment import reduce_graph
from mrt_torch.errors import ExportError
from mrt_torch.graph.editor import input_nodes, shape_of, tensor_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.stage import Stage
from mrt_torch.model import Model

NARROW_BITS, NARROW, WIDE = 8, 1, 4  # bits that one byte holds; bytes of a number


@dataclass(frozen=True)
class ModelSize:
    """How large the integer model is.

    Attributes:
        operators: of its graph.
        parameters: numbers in its constants.
        bytes: of those as they are deployed: int8 for constants of 8 bits and less, else int32.
        bits: of the widest value at any node; None with parts in float.
        gas: of an inference of one example; None with parts in float, or where it cannot be counted.
    """

    operators: int
    parameters: int
    bytes: int
    bits: int | None
    gas: int | None

    @classmethod
    def of_model(cls, quantized: Model) -> ModelSize:
        """That of a quantized model."""
        nodes = list(quantized.module.graph.nodes)
        operators = sum(node.op == "call_function" for node in nodes)
        counts = [(tensor_of(quantized.module, node).numel(), facts_of(node).precision)
                  for node in _constants(quantized)]
        parameters = sum(count for count, _ in counts)
        size = sum(count * (NARROW if bits is not None and bits <= NARROW_BITS else WIDE) for count, bits in counts)
        if quantized.stage is not Stage.INTEGER:
            return cls(operators, parameters, size, None, None)
        widths = [facts_of(node).value_range.precision for node in nodes
                  if node.op != "output" and facts_of(node).value_range]
        return cls(operators, parameters, size, max(widths), _gas(quantized))


def _constants(quantized: Model) -> list[fx.Node]:
    """A node for each constant, though several may read it."""
    return list({node.target: node for node in quantized.module.graph.nodes if node.op == "get_attr"}.values())


def _gas(quantized: Model) -> int | None:
    (node,) = input_nodes(quantized.module.graph)
    axis = facts_of(node).batch_axis
    one = tuple(1 if position == axis else extent for position, extent in enumerate(shape_of(node)))
    try:
        return gas(reduce_graph(quantized, one).module)
    except ExportError:  # beyond what the runtime counts to
        return None
