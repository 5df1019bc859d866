"""The buffers of the nodes of a quantized graph: what a float node's integers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import fx

from mrt_torch.graph.editor import output_nodes
from mrt_torch.quantization.buffers import Buffer, SBuffer, SLBuffer
from mrt_torch.quantization.held import AnyHeld, Quantized


def buffer_of(held: AnyHeld) -> Buffer:
    """``SBuffer`` of the scale, ``SLBuffer`` where each channel, or each column of detections, has its own.

    Zero points are folded already.
    """
    return SBuffer(held.scale) if isinstance(held, Quantized) else SLBuffer(*held.scales.tolist())


def buffers_of(module: fx.GraphModule, values: Mapping[str, AnyHeld], output_scales: Sequence[float]
               ) -> dict[str, Buffer]:
    """The buffer of every input and operator by fx node name; that of an output is what the graph returns.

    Args:
        module: the float graph.
        values: as ``mrt_torch.passes.quantize`` tells them.
        output_scales: as it returns them.
    """
    found = {name: buffer_of(held) for name, held in values.items()}
    outputs = (node.name for node in output_nodes(module.graph))
    return found | {name: SBuffer(scale) for name, scale in zip(outputs, output_scales, strict=True)}
