"""Configurations of small runs for the tests of the pipeline, and the bytes they leave."""

from __future__ import annotations

from pathlib import Path

from mrt_torch.demo import load_digits
from mrt_torch.pipeline.run_configuration import (
    CalibrationSection,
    CompilationSection,
    EvaluationSection,
    MergeSection,
    PrepareSection,
    QuantizationSection,
    RunConfiguration,
    SplitSection,
    StartPoint,
)

KEY = "relu3"


def digits_run(folder: Path, keys: tuple[str, ...] = (), start: StartPoint = StartPoint.DEFAULT, **sections
               ) -> RunConfiguration:
    """The embedded network, all stages, every checkpoint."""
    digits = load_digits()
    given = {"calibration": CalibrationSection("digits", batch=32, calibrate_num=2, dump=True),
             "prepare": PrepareSection(True), "split": SplitSection(keys, True),
             "quantization": QuantizationSection(dump=True), "merge": MergeSection(dump=True),
             "evaluation": EvaluationSection(2, 32), "compilation": CompilationSection(folder, 1)}
    return RunConfiguration(folder, "digits", (-1, 1, 8, 8), symbol_file=digits.symbol_file,
                            params_file=digits.params_file, start=start, **{**given, **sections})


def written(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but logs, by its name there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix != ".log"}
