"""Groups of processes for the tests: ``python -m tests.mrt_torch.calibration.process_worker FOLDER WORLD...``.

Each group of WORLD processes calibrates the small model in several ways; each process writes what came out to
``<FOLDER>/<WORLD>/<RANK>.json``. They are forked from this one, which has imported
everything, but computed nothing in threads.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

from mrt_torch.calibration import AbsmaxObserver, Calibrator
from mrt_torch.calibration.cache import CalibrationCache
from mrt_torch.calibration.distributed import calibrate_share, merge_across_processes, sum_across_processes
from mrt_torch.calibration.extremes import MinMaxObserver
from mrt_torch.calibration.moving_average import MovingAverageObserver
from mrt_torch.calibration.processes import exchange
from mrt_torch.calibration.run import run_calibration
from mrt_torch.calibration.state import pack, state_of
from tests.mrt_torch.process_groups import main
from tests.mrt_torch.small_models import images, prepared

CPU = torch.device("cpu")
BATCHES = [batch * scale for scale, batch in enumerate(images(21, seed=7).split(3), 1)]  # 7: uneven for 2 and for 3
MODULES = {heads: prepared(heads).module for heads in (1, 2)}
OBSERVERS = {"default": None, "absmax": AbsmaxObserver, "minimum and maximum": MinMaxObserver,
             "mean and deviation": lambda: AbsmaxObserver(2.0)}


class Unknown(AbsmaxObserver):
    """An observer of a user's own, whose order counts."""

    depends_on_order = True


def results(calibrator: Calibrator) -> dict[str, object]:
    """Features as they are serialized, and the bytes of all statistics and of the sample."""
    features = {name: feature.serialize() for name, feature in calibrator.features().items()}
    operands = {f"{name} {groups}": feature.serialize()
                for (name, groups), feature in calibrator.operand_features().items()}
    return {"features": features, "operands": operands, "state": pack(state_of(calibrator), {}).hex()}


def calibrated(data, observer=None, **settings) -> dict[str, object]:
    """What a calibration gives."""
    calibrator = Calibrator(MODULES[1], observer=observer)
    count = run_calibration(calibrator, data, CPU, **settings)
    return {**results(calibrator), "batches": count}


def refused(call) -> dict[str, str | None]:
    """The error of a call."""
    try:
        call()
    except Exception as error:
        parts = {part: getattr(error, part, None) for part in ("what", "where", "why", "remedy")}
        return {"class": type(error).__name__, "text": str(error), **parts}
    return {"class": "nothing was raised"}


def spoilt(index: int) -> list[torch.Tensor]:
    batches = [batch.clone() for batch in BATCHES]
    batches[index][1, 0, 2, 3] = float("nan")
    return batches


def merged_by_hand(rank: int, world: int) -> dict[str, object]:
    calibrator = Calibrator(MODULES[1])
    calibrator.run(BATCHES[rank::world], CPU)
    merge_across_processes(calibrator)
    return results(calibrator)


def breaking_loader():
    yield from BATCHES[:2]
    raise ZeroDivisionError("mine")


def scenarios(rank: int, world: int, folder: Path) -> dict[str, object]:
    loader = DataLoader(TensorDataset(torch.cat(BATCHES), torch.arange(21)), batch_size=3)
    found: dict[str, object] = {name: calibrated(BATCHES, observer) for name, observer in OBSERVERS.items()}
    found["by hand"] = merged_by_hand(rank, world)
    found["loader"] = calibrated(loader)
    found["generator"] = calibrated(batch for batch in BATCHES)
    found["one batch"] = calibrated(BATCHES[0])
    found["alone"] = calibrated(BATCHES, distributed=False)
    for name in ("cache", "cache again"):
        found[name] = calibrated(BATCHES, cache=CalibrationCache(folder / "cache", every=2))
    for index in (0, 1):
        found[f"NaN in batch {index}"] = refused(lambda index=index: calibrated(spoilt(index)))
    found["no data"] = refused(lambda: calibrated([]))
    found["no data at all"] = refused(lambda: calibrated(None))
    found["a loader of one process breaks"] = refused(lambda: calibrated(BATCHES if rank else breaking_loader()))
    found["moving average"] = refused(lambda: calibrated(BATCHES, MovingAverageObserver))
    found["merged moving average"] = refused(
        lambda: merge_across_processes(Calibrator(MODULES[1], observer=MovingAverageObserver)))
    found["order of one's own"] = refused(lambda: calibrated(BATCHES, Unknown))
    found["different settings"] = refused(lambda: calibrated(BATCHES, lambda: AbsmaxObserver(float(rank))))
    found["different models"] = refused(lambda: calibrate_share(
        Calibrator(MODULES[1 + rank % 2]), BATCHES, lambda share: len(list(share))))
    found["sums"] = sum_across_processes({"correct": rank, "seen": 10})
    found["messages"] = [message.decode() for message in exchange(f"{rank}".encode() * (1 + 1000 * rank))]
    found["in order again"] = calibrated(BATCHES, AbsmaxObserver)  # after all those errors
    return found


if __name__ == "__main__":
    sys.exit(main(scenarios))
