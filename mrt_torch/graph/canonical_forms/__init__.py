"""Canonical forms of ATen operators, one family per file; importing this package registers them."""

from mrt_torch.graph.canonical_forms import (  # noqa: F401
    activation,
    elementwise,
    factory,
    identity,
    linear,
    normalization,
    pooling,
    reduction,
    shape,
    slicing,
)
