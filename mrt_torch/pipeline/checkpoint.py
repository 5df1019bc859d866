"""Checkpoints of a run: the files of a stage, which appear together or not at all. (MRT main2, ``Dump``.)"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrt_torch.atomic_file import remove_leftovers, temporary_directory
from mrt_torch.errors import InvalidFileError, MRTError, UnsupportedOperatorError
from mrt_torch.extension_file import save_ext
from mrt_torch.model import Model
from mrt_torch.model_file import write_model
from mrt_torch.mrt import MRT
from mrt_torch.mrt_files import load_state, save_state

GRAPH, PARAMETERS, EXTENSION, SAMPLE = "json", "params", "ext", "sample.safetensors"


def require_files(stage: str, files: Iterable[str | os.PathLike[str]], error: type[MRTError] = InvalidFileError
                  ) -> None:
    """Raise unless all files of the checkpoint of a stage are there.

    Raises:
        InvalidFileError: one is missing; ``error`` names another class.
    """
    missing = [os.fspath(name) for name in files if not Path(name).is_file()]
    if missing:
        raise error(f"Check point of `{stage}` not found, please move the start point earlier",
                    where="option `Start` in section `DEFAULT`", why=f"there is no {missing[0]}",
                    remedy=f"start earlier, with Dump=True in section `{stage}`")


@dataclass(frozen=True)
class Checkpoint:
    """The files ``<prefix>.<suffix>.json``, ``.params`` and, of some stages, ``.ext`` and others.

    The graph, ``.json``, comes last and goes first: where it is, all the others are there and belong to it. Graph and
    parameters have the library's own form, so that a run goes on with the very same numbers; ``Model.load`` reads them.

    Attributes:
        stage: name of the stage that leaves them.
        prefix: ``<Model_dir>/<Model_name>``.
        suffix: such as ``mrt.calibrate``.
    """

    stage: str
    prefix: Path
    suffix: str

    @property
    def stem(self) -> str:
        """What the names of the files begin with, but for the point."""
        return f"{self.prefix}.{self.suffix}"

    def file(self, extension: str) -> Path:
        """The file with an extension, such as ``json``."""
        return Path(f"{self.stem}.{extension}")

    def require(self) -> None:
        """Raise unless the checkpoint is there.

        Raises:
            InvalidFileError: it is not.
        """
        require_files(self.stage, [self.file(extension) for extension in (GRAPH, PARAMETERS)])

    def write(self, write: Callable[[str], None]) -> list[Path]:
        """Replace the checkpoint by the files that ``write`` writes; their names begin with the text it is given."""
        remove_leftovers(self.stem)
        with temporary_directory(Path(self.stem)) as folder:
            write(str(folder / Path(self.stem).name))
            written = {path.name: path for path in folder.iterdir()}
            graph = self.file(GRAPH)
            self.remove()
            order = sorted(written, key=lambda name: (name == graph.name, name))
            for name in order:
                os.replace(written[name], graph.with_name(name))
        return [graph.with_name(name) for name in order]

    def remove(self) -> None:
        """Remove it, its graph first."""
        for extension in (GRAPH, PARAMETERS, EXTENSION, SAMPLE):
            self.file(extension).unlink(missing_ok=True)

    def write_model(self, model: Model, *extension: Any) -> list[Path]:
        """Write a model, and where lines are given the ``ext`` file.

        In the library's own form; a model whose operators it does not all know keeps the form of its framework.
        """
        def write(stem: str) -> None:
            files = f"{stem}.{GRAPH}", f"{stem}.{PARAMETERS}"
            try:
                write_model(model, *files)
            except UnsupportedOperatorError:
                model.save(*files)
            if extension:
                save_ext(f"{stem}.{EXTENSION}", *extension)
        return self.write(write)

    def read_model(self) -> Model:
        """The model that was written.

        Raises:
            InvalidFileError: it is missing or corrupt.
        """
        self.require()
        return Model.load(self.file(GRAPH), self.file(PARAMETERS))

    def read_quantized(self) -> Model:
        """The quantized model that was written.

        Raises:
            InvalidFileError: it is missing, corrupt or not quantized.
        """
        model = self.read_model()
        if not model.is_quantized:
            raise InvalidFileError("the checkpoint is not one of a quantized model", where=str(self.file(GRAPH)),
                                   why=f"saw {model!r}", remedy="start earlier")
        return model

    def write_mrt(self, mrt: MRT) -> list[Path]:
        """Write a calibrated model."""
        return self.write(lambda stem: save_state(stem, mrt.state(), f".{PARAMETERS}"))

    def read_mrt(self) -> MRT:
        """The calibrated model that was written.

        Raises:
            InvalidFileError: it is missing or corrupt.
        """
        self.require()
        return MRT.of_state(load_state(self.stem, f".{PARAMETERS}"), self.stem)
