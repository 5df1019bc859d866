"""The demo: every way that runs gives the same integers, and a way that does not is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrt_torch import verification
from mrt_torch.demo import DemoReport, PathResult, run_demo
from mrt_torch.errors import MissingDependencyError

MOST_LOST = 0.01  # of the accuracy, by quantization


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> DemoReport:
    return run_demo(tmp_path_factory.mktemp("demo"))


def result_of(report: DemoReport, title: str) -> PathResult:
    return next(result for result in report.results if result.title == title)


@pytest.mark.parametrize("title", ["CVM files, read back", "MXNet files, read back"])
def test_files_read_back_give_the_same_integers(report, title):
    """Oracle: the integer graph, on every test image."""
    assert result_of(report, title).differing == 0


def test_mxnet_gives_the_same_integers(tmp_path, mxnet):
    """Oracle: MXNet itself, in float64."""
    assert result_of(run_demo(tmp_path), "MXNet").differing == 0


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("title", ["CVM runtime, CPU", "CVM runtime, FORMAL"])
def test_the_runtime_gives_the_same_integers(report, title):
    """Oracle: the CVM runtime library."""
    result = result_of(report, title)
    if result.note:
        pytest.skip(result.note)
    assert result.differing == 0


def test_little_accuracy_is_lost(report):
    """Oracle: the labels, and the float model."""
    float_model, integer_graph = report.results[:2]
    assert (float_model.title, integer_graph.title) == ("float model", "integer graph")
    assert integer_graph.accuracy >= float_model.accuracy - MOST_LOST


def test_all_files_are_there(report):
    """Oracle: the names of the two formats."""
    assert {file.name for file in report.files} == {"symbol", "params", "ext", "digits-symbol.json",
                                                    "digits-0000.params"}
    assert all(file.stat().st_size > 0 for file in report.files)


def test_the_same_seed_writes_the_same_bytes(report, tmp_path):
    """Oracle: a second run."""
    again = run_demo(tmp_path)
    assert [file.read_bytes() for file in again.files] == [file.read_bytes() for file in report.files]


def test_another_seed_calibrates_on_other_images(report, tmp_path):
    """Oracle: the scales in the extension differ."""
    other = run_demo(tmp_path, seed=1)
    assert other.agree
    assert extension(other) != extension(report)


def extension(report: DemoReport) -> bytes:
    return next(file for file in report.files if file.name == "ext").read_bytes()


class Wrong:
    """Returns zeros but for the right shape."""

    title, form = "wrong", "cvm"

    def run(self, path: Path, integers: np.ndarray) -> list[np.ndarray]:
        return [np.zeros((len(integers), 10), np.int64)]


class Misshapen(Wrong):
    def run(self, path: Path, integers: np.ndarray) -> list[np.ndarray]:
        return [np.zeros((10, len(integers)), np.int64)]


class Absent(Wrong):
    def run(self, path: Path, integers: np.ndarray) -> list[np.ndarray]:
        raise MissingDependencyError("it is not there")


@pytest.mark.parametrize("executor", [Wrong(), Misshapen()])
def test_other_integers_are_noticed(tmp_path, monkeypatch, executor):
    """Oracle: an executor that computes zeros."""
    monkeypatch.setattr(verification, "executors", lambda: [executor])
    report = run_demo(tmp_path)
    assert result_of(report, "wrong").differing > 0
    assert not report.agree


def test_what_is_not_installed_is_no_difference(tmp_path, monkeypatch):
    """Oracle: an executor that is never installed."""
    monkeypatch.setattr(verification, "executors", lambda: [Absent()])
    report = run_demo(tmp_path)
    assert result_of(report, "wrong") == PathResult("wrong", note="it is not there")
    assert report.agree
