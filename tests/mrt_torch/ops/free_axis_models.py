"""Models whose batch is another axis than the first: prepared, quantized, deployed at several batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mrt_torch.cvm import verify
from mrt_torch.graph.editor import input_nodes
from mrt_torch.graph.facts import facts_of
from mrt_torch.passes import prepare, prepare_for_compile, quantize
from mrt_torch.quantization import QuantizationSettings, int_realize
from tests.mrt_torch.ops.graphs import assert_within, draw, graph, operators, thresholds_of

BATCHES = (1, 3)


def with_batch(shape: Sequence[int], batch: int) -> tuple[int, ...]:
    """The shape with the batch where -1 stands."""
    return tuple(batch if extent == -1 else extent for extent in shape)


def check_exact(build: Callable, shape: Sequence[int], expected: Callable[[torch.Tensor], torch.Tensor],
                bound: float = 0.0) -> list[str]:
    """Quantize the graph of ``build``; its integers mean ``expected`` of the quantized input, within ``bound``.

    ``shape`` has -1 on the batch axis. The graph is prepared for one sample, calibrated on other batches, and run,
    free and bound, at each batch. Returns the CVM operators.
    """
    module = graph(build, shape)
    prepared = prepare(module)
    data = [draw(*with_batch(shape, batch), seed=batch) for batch in BATCHES]
    for batch in data:
        assert_within(prepared(batch)[0], module(batch)[0], 1e-12)
    thresholds = thresholds_of(prepared, *data)
    integer_module, scales = quantize(prepared, thresholds, QuantizationSettings(input_precision=12))
    facts = facts_of(input_nodes(integer_module.graph)[0])
    for batch, x in zip(BATCHES, data, strict=True):
        integers = int_realize(x * facts.scale, facts.precision)
        seen = integers.to(torch.float64) / facts.scale
        (output,) = integer_module(integers)
        assert_within(output.to(torch.float64) / scales[0], expected(seen), bound)
        fixed = prepare_for_compile(integer_module, {"data": with_batch(shape, batch)})
        verify(fixed)
        assert torch.equal(fixed(integers)[0], output)
    return operators(integer_module)
