"""The command ``demo``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mrt_torch.demo import DemoReport, PathResult
from tests.mrt_torch.commands.calling import call, call_json


def report(differing: int = 0, refused: str = "") -> DemoReport:
    results = (PathResult("float model", 0.5), PathResult("integer graph", 0.25),
               PathResult("CVM files, read back", 0.25, differing), PathResult("MXNet", note="MXNet is not installed"),
               *([PathResult("CVM runtime, CPU", refused=refused)] if refused else []))
    return DemoReport(results, 4490, 38, (Path("folder/symbol"),))


@pytest.fixture
def returning(monkeypatch):
    """Makes the demo return a report; returns the arguments that it is called with."""
    def replace(result: DemoReport) -> list:
        seen = []
        monkeypatch.setattr(sys.modules["mrt_torch.commands.demo"], "run_demo",
                            lambda folder, seed: seen.append((folder, seed)) or result)
        return seen
    return replace


@pytest.mark.parametrize(("differing", "status", "words"), [(0, 0, "identical"), (7, 1, "7 differ")])
def test_it_shows_the_report(capsys, tmp_path, returning, differing, status, words):
    """Oracle: a report made by hand; the status is 1 when integers differ."""
    seen = returning(report(differing))
    actual, output, _ = call(capsys, "demo", "--out", tmp_path, "--seed", 5)
    assert seen == [(tmp_path, 5)]
    assert actual == status
    assert words in output
    for text in ("50.00%", "25.00%", "4490, the reference", "not installed", str(Path("folder/symbol"))):
        assert text in output


def test_a_way_that_refuses_is_a_failed_check(capsys, tmp_path, returning):
    """Oracle: a report made by hand; the error is shown whole."""
    returning(report(refused="it said no"))
    status, output, _ = call(capsys, "demo", "--out", tmp_path)
    assert status == 1
    assert "refused" in output and "it said no" in output


def test_json(capsys, tmp_path):
    """Oracle: the real demo's own check, and its files."""
    result = call_json(capsys, "demo", "--out", tmp_path)
    assert result["agree"] is True
    assert all(Path(file).is_file() for file in result["files"])
    assert [way["title"] for way in result["results"][:2]] == ["float model", "integer graph"]
