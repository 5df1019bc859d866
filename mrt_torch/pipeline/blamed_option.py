"""Which option of a configuration is to blame for what a stage refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mrt_torch.errors import InvalidArgumentError, InvalidFileError, InvalidGraphError


@contextlib.contextmanager
def blamed(section: str, *options: str) -> Iterator[None]:
    """Name the options, and their section, in an error about an argument, a file or a graph that the block raises."""
    try:
        yield
    except (InvalidArgumentError, InvalidFileError, InvalidGraphError) as error:
        names = " or ".join(f"`{option}`" for option in options)
        place = f"option {names} in section `{section}`"
        raise type(error)(error.what, where=f"{place}: {error.where}" if error.where else place, why=error.why,
                          remedy=error.remedy) from error
