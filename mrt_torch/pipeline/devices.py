"""The torch devices of a run: named while its configuration is read, looked for when it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mrt_torch.device import available_device
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.option_reader import DEFAULT, MISSING, OptionReader
from mrt_torch.pipeline.run_configuration import RunConfiguration, StartPoint
from mrt_torch.pipeline.value_types import ARRAY, DEVICE, INT
from mrt_torch.pipeline.values import INVALID, refusal

CPU, GPU = "cpu", "gpu"
TYPE, IDS = "Device_type", "Device_ids"
LARGEST_ID = 127  # of torch, which counts devices in 8 bits


def read_devices(options: OptionReader, section: str, inherited: Sequence[str] = (CPU,)) -> tuple[str, ...]:
    """The torch devices, such as ``cuda:3``, that a section asks for.

    Args:
        inherited: those of the section that it follows. A section that names no type has that one's, and one that names
            no ids has its ids.

    Raises:
        InvalidArgumentError: a type that is neither cpu nor gpu; ids that are no numbers of devices, or the same;
            gpu without ids; more than one id in section CALIBRATION.
    """
    kind = options.read(section, TYPE, DEVICE, "") if options.gives(section, TYPE) else ""
    on_gpu = kind == GPU or (not kind and inherited[0] != CPU)
    if not on_gpu:
        return (CPU,) if kind else tuple(inherited)
    if options.gives(section, IDS):
        ids = options.read(section, IDS, ARRAY(INT))
    elif inherited[0] != CPU:
        return tuple(inherited)
    else:
        ids = options.read(DEFAULT, IDS, ARRAY(INT), ())
    where = options.where(section, IDS)
    if not ids:
        raise InvalidArgumentError(MISSING, where=where, why="Device_type is gpu",
                                   remedy="write the number of each gpu, such as Device_ids=0")
    if not all(0 <= number <= LARGEST_ID for number in ids) or len(set(ids)) != len(ids):
        raise refusal(INVALID, where, ids, f"write the number of each gpu once, 0 to {LARGEST_ID}")
    if section == "CALIBRATION" and len(ids) > 1:
        raise refusal("`Device_ids` should be an integer in Calibration", where, ids,
                      "name one of them; EVALUATION takes several")
    return tuple(f"cuda:{number}" for number in ids)


def check_devices(configuration: RunConfiguration) -> None:
    """Look for the devices of all stages that run.

    Raises:
        InvalidArgumentError: torch does not have one of them.
    """
    missing: dict[str, InvalidArgumentError] = {}
    for section, name in _used(configuration):
        try:
            available_device(name)
        except InvalidArgumentError as error:
            missing.setdefault(name, InvalidArgumentError(
                error.what, where=f"option `{IDS}` in section `{section}`", why=error.why,
                remedy=f"write Device_type={CPU}, or the number of a gpu that torch sees"))
    if len(missing) == 1:
        raise next(iter(missing.values()))
    if missing:
        raise InvalidArgumentError("\n\n".join(["devices are missing", *map(str, missing.values())]))


def _used(configuration: RunConfiguration) -> Iterator[tuple[str, str]]:
    if configuration.start < StartPoint.CALIBRATION:
        yield "CALIBRATION", configuration.calibration.devices[0]
    if configuration.evaluation is not None and configuration.evaluation.iter_num:
        for name in configuration.evaluation.devices:
            yield "EVALUATION", name
