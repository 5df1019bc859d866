"""Oracle: the same calibration without a break and without a cache, as bytes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from mrt_torch.calibration import AbsmaxObserver, Calibrator
from mrt_torch.calibration.cache import CalibrationCache
from mrt_torch.calibration.moving_average import MovingAverageObserver
from mrt_torch.calibration.run import run_calibration
from mrt_torch.calibration.state import pack, state_of, unpack
from mrt_torch.errors import CalibrationError, InvalidArgumentError, InvalidFileError
from tests.mrt_torch.calibration.process_worker import BATCHES, CPU, MODULES, OBSERVERS, calibrated, spoilt
from tests.mrt_torch.processes import run_python
from tests.mrt_torch.small_models import convolutional

ORDERED = {**OBSERVERS, "moving average": MovingAverageObserver}


class Stopped(Exception):
    """Interrupts a calibration."""


def stopping(after: int):
    yield from BATCHES[:after]
    raise Stopped


class Counted(torch.nn.Module):
    """Counts how often a network runs."""

    def __init__(self, observed):
        super().__init__()
        self.observed, self.calls = observed, 0

    def forward(self, batch):
        self.calls += 1
        return self.observed(batch)


def runs(data, cache, observer=None) -> tuple[Calibrator, int, int]:
    """A calibrator after a calibration, the number of batches, and how many of them ran through the network."""
    calibrator = Calibrator(MODULES[1], observer=observer)
    calibrator.observed = counted = Counted(calibrator.observed)
    return calibrator, run_calibration(calibrator, data, CPU, cache=cache), counted.calls


def interrupted(folder: Path, after: int = 5, observer=None, **settings) -> CalibrationCache:
    """A cache of a calibration that stopped after some batches, of which an even number is kept."""
    cache = CalibrationCache(folder / "cache", every=2, **settings)
    with pytest.raises(Stopped):
        calibrated(stopping(after), observer, cache=cache)
    return cache


@pytest.mark.parametrize("name", ORDERED)
def test_an_interrupted_calibration_goes_on_to_the_same_bytes(tmp_path, name):
    observer = ORDERED[name]
    plain = calibrated(BATCHES, observer)
    cache = interrupted(tmp_path, 5, observer)
    assert len(unpack(cache.path().read_bytes(), "")[1]["batches"]) == 4
    calibrator, count, ran = runs(BATCHES, cache, observer)
    assert (count, ran) == (len(BATCHES), len(BATCHES) - 4)
    assert pack(state_of(calibrator), {}).hex() == plain["state"]
    assert calibrated(BATCHES, observer, cache=cache) == plain  # all of it is there now
    assert runs(BATCHES, cache, observer)[1:] == (len(BATCHES), 0)


@pytest.mark.parametrize("after", range(len(BATCHES) + 1))
def test_wherever_it_stops(tmp_path, after):
    plain = calibrated(BATCHES)
    assert calibrated(BATCHES, cache=interrupted(tmp_path, after)) == plain


def test_it_may_stop_again_and_again(tmp_path):
    for after in (1, 3, 4, 6):
        cache = interrupted(tmp_path, after)
    _, count, ran = runs(BATCHES, cache)
    assert (count, ran) == (len(BATCHES), 1)
    assert calibrated(BATCHES, cache=cache) == calibrated(BATCHES)


def kill_after(count: int, folder: str) -> None:
    """Calibrate in this process, and kill it before batch ``count``."""
    def data():
        yield from BATCHES[:count]
        os.kill(os.getpid(), signal.SIGKILL)
    torch.set_num_threads(1)
    calibrated(data(), cache=CalibrationCache(folder, every=2))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_killed_process_leaves_a_cache_that_goes_on(tmp_path):
    code = f"from {__name__} import kill_after; kill_after(5, {str(tmp_path)!r})"
    done = run_python("-c", code)
    assert done.returncode == -signal.SIGKILL, done.stderr
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in that process: sums of floats depend on it
    try:
        calibrator, count, ran = runs(BATCHES, tmp_path)
        assert (count, ran) == (len(BATCHES), len(BATCHES) - 4)
        assert pack(state_of(calibrator), {}).hex() == calibrated(BATCHES)["state"]
    finally:
        torch.set_num_threads(threads)


def test_a_write_that_is_killed_leaves_the_file_before(tmp_path, monkeypatch):
    """Killed between writing the temporary file and renaming it."""
    cache = interrupted(tmp_path, 3)
    before = cache.path().read_bytes()

    def killed(*paths):
        raise Stopped
    monkeypatch.setattr("mrt_torch.atomic_file.os.replace", killed)
    with pytest.raises(Stopped):
        calibrated(BATCHES, cache=cache)
    monkeypatch.undo()
    assert cache.path().read_bytes() == before
    assert [path.name for path in cache.directory.iterdir()] == [cache.path().name]
    assert calibrated(BATCHES, cache=cache) == calibrated(BATCHES)


@pytest.mark.parametrize("make", [
    lambda: BATCHES, lambda: iter(BATCHES), lambda: [batch.numpy() for batch in BATCHES],
    lambda: [(batch, 0) for batch in BATCHES],
    lambda: DataLoader(TensorDataset(torch.cat(BATCHES), torch.arange(21)), batch_size=3)],
    ids=["list", "iterator", "numpy", "pairs", "loader"])
def test_the_same_batches_in_another_form_go_on(tmp_path, make):
    assert calibrated(make(), cache=interrupted(tmp_path)) == calibrated(BATCHES)


def test_one_array_and_more_data_later(tmp_path):
    assert calibrated(BATCHES[0], cache=tmp_path) == calibrated(BATCHES[:1])
    assert calibrated(BATCHES, cache=tmp_path) == calibrated(BATCHES)
    assert runs(BATCHES, str(tmp_path))[1:] == (len(BATCHES), 0)


def other_model() -> Calibrator:
    model = convolutional()
    model.module.conv0_bias[0] += 1e-3
    model.prepare()
    return Calibrator(model.module)


def changed(index: int) -> list[torch.Tensor]:
    batches = list(BATCHES)
    batches[index] = batches[index].clone()
    batches[index][0, 0, 0, 0] += 1e-3
    return batches


def run(cache: CalibrationCache, data=None, calibrator=None) -> None:
    run_calibration(calibrator or Calibrator(MODULES[1]), BATCHES if data is None else data, CPU, cache=cache)


@pytest.mark.parametrize(("go_on", "part", "detail"), [
    (lambda cache: run(cache, calibrator=other_model()), "the model changed", "parameters"),
    (lambda cache: run(cache, calibrator=Calibrator(MODULES[2])), "the model changed", "nodes"),
    (lambda cache: run(cache, calibrator=Calibrator(MODULES[1], 2.0)), "the configuration changed",
     "node 'data': .*AbsmaxObserver.lambd=2.0., was .*MinMaxObserver"),
    (lambda cache: run(CalibrationCache(cache.directory, "cats")), "the name of the data changed", "'cats', was ''"),
    (lambda cache: run(cache, changed(0)), "the calibration data changed", "batch 0"),
    (lambda cache: run(cache, changed(3)), "the calibration data changed", "batch 3"),
    (lambda cache: run(cache, BATCHES[1:]), "the calibration data changed", "batch 0"),
    (lambda cache: run(cache, BATCHES[:3]), "the calibration data changed", "batch 3.*\n.*not there any more"),
    (lambda cache: run(cache, []), "the calibration data changed", "batch 0.*\n.*not there any more"),
    (lambda cache: run(cache, [batch.double() for batch in BATCHES]), "the calibration data changed", "batch 0"),
], ids=["weight", "graph", "observer", "name", "first batch", "later batch", "shifted", "shorter", "empty", "dtype"])
def test_what_changed_is_named_and_nothing_is_overwritten(tmp_path, go_on, part, detail):
    cache = interrupted(tmp_path)
    before = cache.path().read_bytes()
    with pytest.raises(CalibrationError, match=f"{part}(.|\n)*{detail}") as caught:
        go_on(cache)
    assert cache.path().name in caught.value.remedy
    assert cache.path().read_bytes() == before
    assert calibrated(BATCHES, cache=cache) == calibrated(BATCHES)


def test_a_batch_behind_the_cache_may_change(tmp_path):
    """It did not count."""
    assert calibrated(changed(4), cache=interrupted(tmp_path, 5)) == calibrated(changed(4))


def test_a_value_that_is_not_finite_is_named_by_its_number_in_the_data(tmp_path):
    """What was counted before it stays, and a repaired calibration goes on from there."""
    cache = interrupted(tmp_path, 3)
    with pytest.raises(CalibrationError, match="where: the data itself, batch 5"):
        calibrated(spoilt(5), cache=cache)
    _, count, ran = runs(BATCHES, cache)
    assert (count, ran) == (len(BATCHES), len(BATCHES) - 4)
    assert calibrated(BATCHES, cache=cache) == calibrated(BATCHES)


@pytest.mark.parametrize("spoil", [
    lambda content: b"", lambda content: content[:-1], lambda content: content[:50], lambda content: b"text" * 9,
    lambda content: content[:-5] + b"\1" + content[-4:], lambda content: pack({}, {"format": "other"}),
    lambda content: pack({}, unpack(content, "")[1]), lambda content: pack(unpack(content, "")[0], {
        key: value for key, value in unpack(content, "")[1].items() if key != "batches"})],
    ids=["empty", "shorter", "header cut", "no such file", "a changed byte", "format", "no statistics", "no batches"])
def test_a_corrupt_file_is_named(tmp_path, spoil):
    cache = interrupted(tmp_path)
    cache.path().write_bytes(spoil(cache.path().read_bytes()))
    with pytest.raises(InvalidFileError) as caught:
        calibrated(BATCHES, cache=cache)
    assert caught.value.where == str(cache.path()) and caught.value.why and "delete" in caught.value.remedy


def test_the_file_is_the_same_in_every_run(tmp_path):
    for name in ("a", "b"):
        calibrated(BATCHES, cache=CalibrationCache(tmp_path / name, "cats", every=3))
    assert CalibrationCache(tmp_path / "a").path().read_bytes() == CalibrationCache(tmp_path / "b").path().read_bytes()


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InvalidArgumentError, match="cannot be made"):
        calibrated(BATCHES, cache=tmp_path / "none" / ".." / "file")
    CalibrationCache(tmp_path).path().mkdir()
    with pytest.raises(InvalidFileError, match="cannot be read"):
        calibrated(BATCHES, cache=tmp_path)


@pytest.mark.parametrize("settings", [{"every": 0}, {"every": 1.5}, {"every": True}, {"data_name": 3}], ids=repr)
def test_settings_are_checked(tmp_path, settings):
    with pytest.raises(InvalidArgumentError) as caught:
        CalibrationCache(tmp_path, **settings)
    assert caught.value.remedy


def test_no_cache_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calibrated(BATCHES, AbsmaxObserver)
    assert not list(tmp_path.iterdir())
