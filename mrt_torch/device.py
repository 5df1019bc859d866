"""The torch device and the float type that a user names."""

from __future__ import annotations

import torch

from mrt_torch.errors import InvalidArgumentError


def available_device(ctx: str | torch.device) -> torch.device:
    """The device called ``ctx``, such as "cpu" or "cuda:1".

    Raises:
        InvalidArgumentError: there is no such device here.
    """
    try:
        device = torch.device(ctx)
        torch.empty(0, device=device)
    except (RuntimeError, TypeError, AssertionError) as error:  # torch built without CUDA asserts
        raise InvalidArgumentError(f"there is no device {ctx!r} here", why=str(error).splitlines()[0],
                                   remedy="pass 'cpu', or 'cuda' where torch sees a GPU") from error
    return device


def float_type(dtype: str | torch.dtype) -> torch.dtype:
    """The type called ``dtype``, such as "float32".

    Raises:
        InvalidArgumentError: there is no float type of that name.
    """
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise InvalidArgumentError(f"{dtype!r} is no float type", remedy="pass 'float32' or 'float64'")
    return found
