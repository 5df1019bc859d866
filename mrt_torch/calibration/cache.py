"""A folder that keeps the statistics of a calibration while it runs, so that an interrupted one can go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from operator import length_hint
from pathlib import Path
from typing import Any

import torch

from mrt_torch.atomic_file import atomic_write
from mrt_torch.calibration.calibrate import Calibrator, batches
from mrt_torch.calibration.sharing import Batches, is_array, unless_empty
from mrt_torch.calibration.state import configuration_of, digest_of, load_state, model_digest, pack, state_of, unpack
from mrt_torch.errors import CalibrationError, InvalidArgumentError, InvalidFileError

FORMAT = "mrt_torch calibration 1"


class CalibrationCache:
    """Keeps the statistics of one calibration in a folder, in one file for each process.

    The file is written every ``every`` batches, and at the end, under a temporary name that is then renamed. It holds
    the observers' statistics with a digest of the model, the configuration, and a digest of every batch that counts.
    A calibration that finds it reads those batches again, checks that they are the same, and goes on behind them
    without having run them through the network: the features are, byte for byte, those of a run without a break.

    Args:
        directory: the folder; it is made where there is none.
        data_name: a name for the data, checked beside their bytes; say in it how they were preprocessed.
        every: number of batches between two writes.

    Raises:
        InvalidArgumentError: an argument is unusable.
    """

    def __init__(self, directory: str | os.PathLike[str], data_name: str = "", every: int = 16):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise InvalidArgumentError("the number of batches between two writes is a positive int",
                                       where="CalibrationCache", why=f"saw {every!r}",
                                       remedy="pass a number such as 16")
        if not isinstance(data_name, str):
            raise InvalidArgumentError("the name of the data is a text", where="CalibrationCache",
                                       why=f"saw {data_name!r}", remedy="pass a str")
        self.directory, self.data_name, self.every = Path(directory), data_name, every

    @classmethod
    def of(cls, given: CalibrationCache | str | os.PathLike[str]) -> CalibrationCache:
        """Itself, or one in the folder that a path names."""
        return given if isinstance(given, CalibrationCache) else cls(given)

    def path(self, rank: int = 0, world: int = 1) -> Path:
        """The file of process ``rank`` of ``world``."""
        return self.directory / f"calibration-{rank}-of-{world}.safetensors"

    def run(self, calibrator: Calibrator, data: Any, device: torch.device, progress: bool | None = None,
            rank: int = 0, world: int = 1) -> int:
        """``Calibrator.run`` of a calibrator without statistics, from where an earlier run of it stopped.

        Args:
            calibrator, data, device, progress: as in ``Calibrator.run``; ``data`` is the share of this process.
            rank, world: this process, and how many there are.

        Returns:
            The number of batches, with those of the earlier run.

        Raises:
            CalibrationError: as in ``Calibrator.run``; or the model, the configuration or the data changed since.
            InvalidFileError: the file is truncated or corrupt.
            InvalidArgumentError: the folder cannot be made.
        """
        path = self.path(rank, world)
        key = {"format": FORMAT, "model": model_digest(calibrator), "device": device.type,
               "configuration": configuration_of(calibrator), "data_name": self.data_name}
        digests = self._resume(calibrator, path, key)
        length = 0 if is_array(data) else length_hint(data, 0)
        items = batches(data)
        self._skip(items, digests, path, rank, world)
        skipped = len(digests)
        rest = items if not skipped else unless_empty(items)
        if rest is None:
            return skipped
        self._make_directory()
        recorded = self._recorded(calibrator, iter(rest), path, key, digests)
        calibrator.run(Batches(recorded, max(length - skipped, 0)), device, progress, rank + skipped * world, world)
        return len(digests)

    def _recorded(self, calibrator: Calibrator, items: Iterator[torch.Tensor], path: Path, key: dict[str, Any],
                  digests: list[str]) -> Iterator[torch.Tensor]:
        """The batches as they pass; a batch counts when the next one is asked for, because it was observed by then."""
        written = len(digests)
        for batch in items:
            digest = digest_of({"batch": batch})
            yield batch
            digests.append(digest)
            if len(digests) - written == self.every:
                self._write(calibrator, path, key, digests)
                written = len(digests)
        if len(digests) > written:
            self._write(calibrator, path, key, digests)

    def _write(self, calibrator: Calibrator, path: Path, key: dict[str, Any], digests: list[str]) -> None:
        atomic_write(path, pack(state_of(calibrator), {**key, "batches": digests}))

    def _resume(self, calibrator: Calibrator, path: Path, key: dict[str, Any]) -> list[str]:
        """Give the calibrator the statistics of the file, where there is one; the digests of the batches in them."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InvalidFileError("the cache of a calibration cannot be read", where=str(path), why=str(error),
                                   remedy="give the name of another folder") from error
        state, header = unpack(content, str(path))
        _check_key(header, key, path)
        try:
            load_state(calibrator, state)
            return [str(digest) for digest in header["batches"]]
        except (InvalidArgumentError, LookupError, TypeError, RuntimeError) as error:
            raise InvalidFileError("the statistics of a calibration do not fit their observers", where=str(path),
                                   why=str(error), remedy=_remedy(path)) from error

    def _skip(self, items: Iterator[torch.Tensor], digests: list[str], path: Path, rank: int, world: int) -> None:
        """Read the batches that count already, and raise unless they are the same."""
        for index, digest in zip(range(rank, rank + world * len(digests), world), digests, strict=True):
            try:
                batch = next(items)
            except (StopIteration, CalibrationError) as error:
                raise CalibrationError("the calibration data changed", where=f"batch {index}, {path}",
                                       why=f"it is not there any more, {len(digests)} were calibrated before",
                                       remedy=_remedy(path)) from error
            if digest_of({"batch": batch}) != digest:
                raise CalibrationError("the calibration data changed", where=f"batch {index}, {path}",
                                       why="it is not the batch that was calibrated before", remedy=_remedy(path))

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidArgumentError("the folder of the cache cannot be made", where=str(self.directory),
                                       why=str(error), remedy="give the name of another folder") from error


def _check_key(stored: dict[str, Any], key: dict[str, Any], path: Path) -> None:
    """Raise unless a file is of this model, configuration and data name; say which part changed."""
    if stored.get("format") != key["format"]:
        raise InvalidFileError("the file is no cache of a calibration", where=str(path),
                               why=f"expected format '{key['format']}'", remedy=_remedy(path))
    for part, name in (("model", "model"), ("configuration", "configuration"), ("data_name", "name of the data"),
                       ("device", "device")):
        old, new = stored.get(part), key[part]
        if old != new:
            why = "its nodes or its parameters are not those of before" if part == "model" else f"{new!r}, was {old!r}"
            if isinstance(old, dict) and part == "configuration":
                changed = next(place for place in {**new, **old} if old.get(place) != new.get(place))
                why = f"{changed}: {new.get(changed, 'nothing')}, was {old.get(changed, 'nothing')}"
            raise CalibrationError(f"the {name} changed since the calibration that is to go on", where=str(path),
                                   why=why, remedy=_remedy(path))


def _remedy(path: Path) -> str:
    return f"delete {path.name}, or give another folder, to calibrate from the start"
