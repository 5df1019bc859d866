"""What a run did, for a person and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mrt_torch.evaluation import EvaluationReport
from mrt_torch.model_size import ModelSize


@dataclass(frozen=True)
class StageResult:
    """What became of a stage.

    Attributes:
        name: such as ``CALIBRATION``.
        outcome: ``finished``; ``read`` from its checkpoint; ``skipped``, because the run starts behind it, or because
            the configuration has nothing to do there.
        seconds: of wall-clock time.
    """

    name: str
    outcome: str
    seconds: float


@dataclass(frozen=True)
class RunSummary:
    """A whole run; ``str`` of it is for a person.

    Attributes:
        model_name: of the configuration.
        stages: in order.
        size: of the integer model.
        evaluation: None without one.
        files: checkpoints, the compiled model and the log.
    """

    model_name: str
    stages: tuple[StageResult, ...]
    size: ModelSize
    evaluation: EvaluationReport | None
    files: tuple[Path, ...]

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"model_name": self.model_name, "stages": [asdict(stage) for stage in self.stages],
                "seconds": self.seconds, "size": asdict(self.size),
                "evaluation": self.evaluation and self.evaluation.to_json(),
                "files": [str(file) for file in self.files]}

    def __str__(self) -> str:
        lines = [self.model_name]
        lines += [f"  {stage.name:<14} {stage.outcome:<9} {stage.seconds:8.2f} s" for stage in self.stages]
        figures = [f"{self.size.operators} operators",
                   f"{self.size.parameters:,} parameters in {self.size.bytes:,} bytes"]
        figures += [f"at most {self.size.bits} bits"] if self.size.bits else ["with parts in float"]
        figures += [f"{self.size.gas:,} gas an example"] if self.size.gas else []
        lines.append("  " + ", ".join(figures))
        if self.evaluation is not None:
            lines += [f"  {line}" for line in str(self.evaluation).splitlines()]
        return "\n".join([*lines, "files", *(f"  {file}" for file in self.files)])
