"""The command ``evaluate``, on the embedded images. Oracle: mrt_torch.evaluation.evaluate, whose times may differ."""

from __future__ import annotations

from typing import Any

import pytest

from mrt_torch import Model
from mrt_torch.data import dataset_called
from mrt_torch.evaluation import evaluate
from tests.mrt_torch.commands.calling import call, call_json, misused, refused


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    models = {name: {key: value for key, value in figures.items() if key != "seconds_per_image"}
              for name, figures in report["models"].items()}
    return {**report, "models": models}


def test_float_against_integers(capsys, files):
    result = call_json(capsys, "evaluate", "--model", f"float={files.symbol},{files.params}",
                       "--model", f"integer={files.quantized}", "--model", f"deployed={files.deployed}",
                       "--dataset", "digits", "--batch", 50, "--batches", 2)
    models = {"float": Model.load(files.symbol), "integer": Model.load(files.quantized,
                                                                       files.quantized.with_suffix(".safetensors"))}
    models["deployed"] = models["integer"]
    expected = evaluate(models, dataset_called("digits")((50, 1, 8, 8)), batches=2)
    assert without_times(result) == without_times(expected.to_json())
    assert result["examples"] == 100


def test_one_model_for_a_person(capsys, files):
    """Oracle: the figures of the same command as JSON."""
    arguments = ("evaluate", files.quantized, "--dataset", "digits", "--batch", 64, "--device", "cpu")
    (figures,) = call_json(capsys, *arguments)["models"].values()
    status, output, _ = call(capsys, *arguments)
    assert status == 0
    assert "449 examples of digits" in output and f"{figures['values']['top1']:.2%}" in output


def test_a_model_without_shapes_needs_one(capsys, tmp_path, files):
    """Oracle: the same figures as with the shape that the symbol declares."""
    symbol = tmp_path / "plain-symbol.json"
    symbol.write_text(files.symbol.read_text().replace("__shape__", "__note__"))
    arguments = ("evaluate", "--model", f"net={symbol},{files.params}", "--dataset", "digits", "--batches", 2)
    assert "shape" in refused(capsys, *arguments)
    (figures,) = call_json(capsys, *arguments, "--shape", "1,1,8,8")["models"].values()
    (expected,) = call_json(capsys, "evaluate", files.symbol, "--dataset", "digits", "--batches", 2)["models"].values()
    assert figures["values"] == expected["values"]


def test_wrong_usage(capsys, tmp_path, files):
    """Oracle: status 2 and what is missing."""
    assert "--model NAME=FILE" in misused(capsys, "evaluate", "--dataset", "digits")
    assert "--dataset" in misused(capsys, "evaluate", files.quantized)
    assert "same name" in misused(capsys, "evaluate", "--model", f"a={files.symbol}", "--model", f"a={files.symbol}",
                                  "--dataset", "digits")
    assert "none.json" in misused(capsys, "evaluate", "--model", f"a={tmp_path / 'none.json'}",
                                  "--dataset", "digits").replace("\n", "")


@pytest.mark.parametrize(("options", "words"), [
    (("--dataset", "abacus"), "abacus"), (("--dataset", "digits", "--device", "abacus"), "abacus"),
    (("--dataset", "mnist", "--dataset-dir", "nowhere"), "what to do")], ids=str)
def test_bad_values(capsys, files, options, words):
    """Oracle: the library's message."""
    assert words in refused(capsys, "evaluate", files.quantized, *options)
