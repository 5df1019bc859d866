"""What every stage of the pipeline is made of. (MRT main2.)"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mrt_torch.evaluation import EvaluationReport
from mrt_torch.model import Model
from mrt_torch.mrt import MRT
from mrt_torch.pipeline.checkpoint import Checkpoint
from mrt_torch.pipeline.run_configuration import RunConfiguration, StartPoint


@dataclass
class Results:
    """What the stages hand to each other; None until then.

    Attributes:
        model: prepared; with keys and operators above them that have no integer form, as its file has it.
        base, top: the halves; without keys base is the model, and there is no top.
        mrt: calibrated.
        quantized: the base in integers.
        merged: base and top; None without keys.
        evaluation: float and quantized model compared.
        files: what was written.
    """

    model: Model | None = None
    base: Model | None = None
    top: Model | None = None
    mrt: MRT | None = None
    quantized: Model | None = None
    merged: Model | None = None
    evaluation: EvaluationReport | None = None
    files: list[Path] = field(default_factory=list)

    @property
    def final(self) -> Model:
        """What the run ends with."""
        return self.merged or self.quantized


class Stage:
    """One stage of a run.

    Attributes:
        name: that of its section.
        point: the start point behind it; None where no run can start.
        configuration, results: of the run.
    """

    name: ClassVar[str]
    point: ClassVar[StartPoint | None] = None

    def __init__(self, configuration: RunConfiguration, results: Results):
        self.configuration, self.results = configuration, results

    def checkpoint(self, suffix: str) -> Checkpoint:
        """A checkpoint of this stage."""
        return Checkpoint(self.name, self.configuration.prefix, suffix)

    def extension_of(self, quantized: Model) -> tuple[Any, ...]:
        """The lines of ``.all.quantize.ext``: what a client needs to feed the model and to read its answers."""
        return ("oscales: ", list(quantized.record.output_scales), "input_ext: ", dict(quantized.record.inputs),
                "input shapes: ", list(self.configuration.input_shape))

    def read_top(self) -> Model | None:
        """The half above the keys, from its checkpoint; None without keys."""
        if not self.configuration.split.keys:
            return None
        return Checkpoint(StartPoint.SPLIT_MODEL.name, self.configuration.prefix, "top").read_model()

    @property
    def applies(self) -> bool:
        """Whether the configuration has something to do here."""
        return True

    @property
    def dumps(self) -> bool:
        """Whether it leaves a checkpoint."""
        return False

    def make(self, progress: bool | None) -> None:
        """Add its results to those of the stages before it."""
        raise TypeError(f"{type(self).__name__} does not define make")

    def write(self) -> None:
        """Leave a checkpoint."""
        raise TypeError(f"{type(self).__name__} does not define write")

    def read(self) -> None:
        """Take the results from the checkpoint.

        Raises:
            InvalidFileError: it is missing or corrupt.
        """
        raise TypeError(f"{type(self).__name__} does not define read")
