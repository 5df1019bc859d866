"""Float products of matrices, choices of rows and masked softmax as MXNet nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from bridges.mxnet.exporters.float_call import FloatCall
from bridges.mxnet.symbol import Entry
from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.masking import MASKED_SOFTMAX

aten = torch.ops.aten

_EXCLUDED = 1e30  # large beside every logit, and far from the largest float32


def write_batch_dot(view: FloatCall) -> Entry:
    """batch_dot."""
    return view.result("batch_dot", *view.inputs)


def write_embedding(view: FloatCall) -> Entry:
    """Embedding, which clamps its indices."""
    rows, columns = shape_of(view.arguments["weight"])
    indices, weight = (view.entries[view.arguments[name]] for name in ("indices", "weight"))
    return view.result("Embedding", indices, weight, input_dim=rows, output_dim=columns)


def write_index_select(view: FloatCall) -> Entry:
    """take, which clamps its indices."""
    return view.result("take", *view.inputs, axis=view.axis("dim"), mode="clip")


def write_masked_softmax(view: FloatCall) -> Entry:
    """softmax(x - 1e30 * (mask <= 0)) * (mask > 0): subtracting nothing from what is kept changes no bit of it."""
    scores, mask = view.inputs
    excluded = view.part("excluded", "_mul_scalar", view.part("below", "_lesser_equal_scalar", mask, scalar=0.0),
                         scalar=_EXCLUDED)
    weights = view.part("softmax", "softmax", view.part("scores", "broadcast_sub", scores, excluded),
                        axis=view.axis("dim"))
    return view.result("broadcast_mul", weights, view.part("kept", "_greater_scalar", mask, scalar=0.0))


MATRIX_WRITERS: Mapping[object, Callable[[FloatCall], Entry]] = {
    aten.bmm.default: write_batch_dot, aten.embedding.default: write_embedding,
    aten.index_select.default: write_index_select, MASKED_SOFTMAX: write_masked_softmax,
}
