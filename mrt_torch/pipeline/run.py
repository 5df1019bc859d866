"""Runs the pipeline: all stages of a configuration, from its start point on. (MRT main2.)"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tqdm.auto import tqdm

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.devices import check_devices
from mrt_torch.pipeline.log_file import logging_to
from mrt_torch.pipeline.read_configuration import read_configuration
from mrt_torch.pipeline.run_configuration import RunConfiguration, StartPoint
from mrt_torch.pipeline.run_data import dataset_of
from mrt_torch.pipeline.stage import Results, Stage
from mrt_torch.pipeline.stages import STAGES
from mrt_torch.pipeline.summary import ModelSize, RunSummary, StageResult

FINISHED, READ, SKIPPED = "finished", "read", "skipped"
logger = logging.getLogger(__name__)


def run_configuration_file(path: str | os.PathLike[str], overrides: Mapping[str, str] | None = None,
                           progress: bool | None = None) -> RunSummary:
    """Run what a configuration file says.

    Args:
        path: an ``.ini`` or ``.toml`` file; ``pipeline/example.ini`` has all sections and keys.
        overrides: values instead of those of the file, by ``SECTION.Key``.
        progress: show bars; None shows them on a terminal only.

    Raises:
        InvalidArgumentError: lists what is wrong in the configuration; nothing is written then.
        InvalidFileError: a file is missing or corrupt.
        MRTError: a stage failed; the checkpoints of the stages before it stay.
    """
    return run(read_configuration(path, overrides), progress)


def run(configuration: RunConfiguration, progress: bool | None = None) -> RunSummary:
    """Run a configuration; see ``run_configuration_file``."""
    check_devices(configuration)
    dataset_of(configuration, configuration.calibration.batch)
    _check_restored(configuration)
    if not configuration.start.exists(configuration.split.keys):
        raise InvalidArgumentError("Invalid start point", where="RunConfiguration.start",
                                   why=f"without keys a run has no {configuration.start.name}",
                                   remedy="start elsewhere, or give the keys")
    configuration.model_dir.mkdir(parents=True, exist_ok=True)
    log = configuration.log_file or Path(f"{configuration.prefix}.log")
    results, outcomes = Results(), []
    with logging_to(log, configuration.verbosity) as write_to_log, \
            tqdm(total=len(STAGES), unit="stage", disable=None if progress is None else not progress) as bar:
        for stage in (stage(configuration, results) for stage in STAGES):
            bar.set_description(stage.name)
            started = time.perf_counter()
            try:
                outcome = _take(stage, configuration.start, progress)
            except Exception as error:
                write_to_log(f"`{stage.name}` stage failed: {error}")
                raise
            outcomes.append(StageResult(stage.name, outcome, time.perf_counter() - started))
            logger.info("`%s` stage %s", stage.name, outcome)
            bar.update()
        summary = RunSummary(configuration.model_name, tuple(outcomes), ModelSize.of_model(results.final),
                             results.evaluation, tuple(dict.fromkeys([*results.files, log])))
        write_to_log(str(summary))
    return summary


def _take(stage: Stage, start: StartPoint, progress: bool | None) -> str:
    """Make, read or skip a stage; says which."""
    if not stage.applies or stage.point is not None and stage.point < start:
        return SKIPPED
    if stage.point == start:
        stage.read()
        return READ
    stage.make(progress)
    if stage.dumps:
        stage.write()
    return FINISHED


def _check_restored(configuration: RunConfiguration) -> None:
    if configuration.quantization.restore_name and configuration.compilation is not None:
        raise InvalidArgumentError("a model with parts in float cannot be compiled",
                                   where="option `Restore_name` in section `QUANTIZATION`",
                                   why=f"saw {', '.join(configuration.quantization.restore_name)}",
                                   remedy="leave the option empty, or the section COMPILATION out")
