"""Float operators that ATen lacks, as ``torch.ops.mrt.*``: legal in the float stage beside those of ATen."""

from __future__ import annotations

from collections.abc import Callable

import torch

_LIBRARY = torch.library.Library("mrt", "FRAGMENT")


def define_float_operator(name: str, schema: str, kernel: Callable, fake: Callable | None = None
                          ) -> torch._ops.OpOverload:
    """Define ``torch.ops.mrt.<name>`` and return its default overload.

    Args:
        name: a Python identifier.
        schema: torch schema without the name, as ``(Tensor x, float eps) -> Tensor``.
        kernel: computes it on any device, in the dtype of its input; returns fresh tensors.
        fake: gives tensors of the right shapes on the device "meta"; None where the kernel does so itself.
    """
    _LIBRARY.define(name + schema)
    _LIBRARY.impl(name, kernel, "CompositeExplicitAutograd")
    if fake is not None:
        torch.library.register_fake(f"mrt::{name}", fake, lib=_LIBRARY)
        _LIBRARY.impl(name, fake, "Meta")
    return getattr(torch.ops.mrt, name).default
