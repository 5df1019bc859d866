"""Files that must be there before a data set is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrt_torch.errors import InvalidFileError


def required_files(dataset: str, folder: Path, names: Sequence[str | tuple[str, ...]], remedy: str) -> list[Path]:
    """Paths of the files of a data set.

    Args:
        dataset: its registered name.
        folder: where the files are.
        names: relative to the folder; a tuple holds names of which any one will do, the first that is there.
        remedy: where to get the files; nothing is downloaded here.

    Raises:
        InvalidFileError: files are missing; names every one of them.
    """
    found, missing = [], []
    for alternatives in names:
        alternatives = (alternatives,) if isinstance(alternatives, str) else alternatives
        paths = [folder / name for name in alternatives if (folder / name).is_file()]
        found += paths[:1]
        if not paths:
            missing.append(" or ".join(alternatives))
    if missing:
        raise InvalidFileError(f"files of the data set '{dataset}' are missing", where=str(folder),
                               why=f"there is no {'; no '.join(missing)}", remedy=remedy)
    return found
