"""The command line: what it prints, where, and its status."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("click", reason="the cli extra is not installed")
pytest.importorskip("rich", reason="the cli extra is not installed")

from mrt_torch import commands
from mrt_torch.cli import main
from mrt_torch.demo import DemoReport, PathResult, load_digits


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Status, standard output and standard error of the command."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return stop.value.code, printed.out, printed.err


def report(differing: int) -> DemoReport:
    results = (PathResult("float model", 0.5), PathResult("integer graph", 0.25),
               PathResult("CVM files, read back", 0.25, differing), PathResult("MXNet", note="MXNet is not installed"))
    return DemoReport(results, 4490, 38, (Path("folder/symbol"),))


def test_help_names_the_commands(capsys):
    """Oracle: the documented commands."""
    status, output, _ = call(capsys, "--help")
    assert status == 0
    assert "demo" in output and "inspect" in output


def test_version_as_a_module():
    """Oracle: the installed metadata; the process is a real one."""
    done = subprocess.run([sys.executable, "-m", "mrt_torch", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mrt-torch {version('mrt-torch')}\n"


def test_unknown_option_is_wrong_usage(capsys):
    """Oracle: the convention that wrong usage is status 2."""
    status, _, errors = call(capsys, "demo", "--nothing")
    assert status == 2
    assert "--nothing" in errors


@pytest.mark.parametrize(("differing", "status", "words"), [(0, 0, "identical"), (7, 1, "7 differ")])
def test_demo_shows_the_report(capsys, monkeypatch, tmp_path, differing, status, words):
    """Oracle: a report made by hand; the status is 1 when integers differ."""
    seen = []
    monkeypatch.setattr(commands, "run_demo", lambda folder, seed: seen.append((folder, seed)) or report(differing))
    actual, output, _ = call(capsys, "demo", "--out", tmp_path, "--seed", 5)
    assert seen == [(tmp_path, 5)]
    assert actual == status
    assert words in output
    for text in ("50.00%", "25.00%", "4490, the reference", "not installed", str(Path("folder/symbol"))):
        assert text in output


def test_an_error_of_the_library_is_a_message(capsys, tmp_path):
    """Oracle: the error's own text, on standard error, without a traceback."""
    path = tmp_path / "broken-symbol.json"
    path.write_text("{")
    (tmp_path / "broken-0000.params").write_bytes(b"")
    status, output, errors = call(capsys, "inspect", path)
    assert status == 1
    assert output == ""
    assert errors.startswith("mrt-torch: ")
    assert str(path) in errors
    assert "Traceback" not in errors


def test_a_missing_file_is_wrong_usage(capsys, tmp_path):
    """Oracle: the convention that wrong usage is status 2."""
    status, _, errors = call(capsys, "inspect", tmp_path / "none-symbol.json")
    assert status == 2
    assert "none-symbol.json" in errors


def test_inspect_as_json(capsys):
    """Oracle: the embedded model as its training script describes it."""
    status, output, _ = call(capsys, "inspect", load_digits().symbol_file, "--json")
    assert status == 0
    description = json.loads(output)
    assert description["operators"]["Convolution"] == description["operators"]["BatchNorm"] == 4
    assert description["inputs"] == [{"name": "data", "shape": [1, 1, 8, 8]}]
    assert description["unsupported"] == []


def test_inspect_for_a_person(capsys):
    """Oracle: the embedded model as its training script describes it."""
    status, output, _ = call(capsys, "inspect", load_digits().symbol_file, load_digits().params_file,
                             "--shape", "2,1,8,8")
    assert status == 0
    for text in ("FullyConnected", "24 tensors, 33,674 numbers, 134,696 bytes", "data (2, 1, 8, 8)", "dense (2, 10)",
                 "unsupported none"):
        assert text in output


@pytest.mark.parametrize("package", ["click", "rich"])
def test_a_missing_package_names_the_extra(capsys, monkeypatch, package):
    """Oracle: the extra in setup.cfg."""
    monkeypatch.delitem(sys.modules, "mrt_torch.commands")
    monkeypatch.delattr("mrt_torch.commands")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert package in str(stop.value.code)
    assert "mrt-torch[cli]" in str(stop.value.code)


def test_ops_lists_every_operator(capsys):
    """Oracle: the registry's rows; the page is printed as it stands in the documentation."""
    from mrt_torch.operator_table import markdown, operator_rows
    status, output, _ = call(capsys, "ops", "--json")
    assert status == 0 and [row["name"] for row in json.loads(output)] == [row.name for row in operator_rows()]
    status, output, _ = call(capsys, "ops", "--markdown")
    assert status == 0 and output == markdown()
    status, output, _ = call(capsys, "ops")
    assert status == 0 and "Convolution" in output and "conv2d" in output


def test_inspect_explains_the_rules(capsys):
    """Oracle: the embedded network, whose BatchNorms are folded and whose relus have no transpose before them."""
    digits = load_digits()
    arguments = ("inspect", "--explain", digits.symbol_file, digits.params_file, "--shape", "1,1,8,8")
    status, output, _ = call(capsys, *arguments, "--json")
    report = json.loads(output)
    assert status == 0 and report["rounds"] >= 1
    assert report["rewrite"]["BatchNorm"]["fired"] > 0 and not report["rewrite"]["BatchNorm"]["declined"]
    assert set(report["fuse_transpose"]["Relu"]["declined"].values()) == {"no transpose is before it"}
    status, output, _ = call(capsys, *arguments)
    assert status == 0 and "BatchNorm" in output and "no transpose is before it" in output


def test_a_deployed_model_has_no_rules_to_explain(capsys, tmp_path):
    """Oracle: the message says what to explain instead."""
    status, _, errors = call(capsys, "inspect", "--explain", tmp_path)
    assert status == 1 and "explain the float model" in errors
