"""Canonical forms of ATen operators, one family per file; importing this package registers them."""

from mrt_torch.graph.canonical_forms import (  # noqa: F401
    activation,
    attention,
    comparison,
    convolution,
    elementwise,
    embedding,
    factory,
    identity,
    linear,
    mathematical,
    normalization,
    pooling,
    rearrangement,
    reduction,
    repetition,
    resizing,
    rounding,
    selection,
    shape,
    slicing,
)
