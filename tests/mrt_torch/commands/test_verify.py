"""The command ``verify``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mrt_torch import Model, load_real_data, verification
from mrt_torch.demo import load_digits
from tests.mrt_torch.commands.calling import call, call_json, misused, refused

EXAMPLES = ("--examples", 4)


class Wrong:
    """An engine that adds one to the first integer."""

    title, form = "wrong", "cvm"

    def run(self, path, integers):
        head = verification.run_graph(Model.load_cvm(path).module, torch.from_numpy(integers))[0].numpy()
        head[0, 0] += 1
        return [head]


@pytest.mark.parametrize("form", ["quantized", "deployed", "integer_symbol"])
def test_every_form_agrees(capsys, files, form):
    """Oracle: the certificate and each engine that is installed; the files are read back at least."""
    report = call_json(capsys, "verify", getattr(files, form), *EXAMPLES)
    ways = {result["title"]: result for result in report["results"]}
    assert report["agree"] is True and report["certificate"] == "" and report["integers"] == 40
    assert ways["CVM files, read back"]["differing"] == ways["MXNet files, read back"]["differing"] == 0
    assert all(not result["differing"] and not result["refused"] for result in ways.values())


def test_a_deployed_model_takes_whole_batches(capsys, files):
    """Oracle: the batch of the folder, 2."""
    assert call_json(capsys, "verify", files.deployed, "--examples", 3)["examples"] == 4


def test_a_difference_is_status_1(capsys, monkeypatch, files):
    """Oracle: an engine that is wrong in one integer."""
    monkeypatch.setattr(verification, "executors", lambda: [Wrong()])
    status, output, _ = call(capsys, "verify", files.quantized, *EXAMPLES, "--json")
    assert status == 1
    report = json.loads(output)
    assert report["agree"] is False and report["results"][-1]["differing"] == 1
    status, output, _ = call(capsys, "verify", files.quantized, *EXAMPLES)
    assert status == 1 and "1 differ" in output and "not every way" in output


def test_data_of_floats_or_integers(capsys, tmp_path, files):
    """Oracle: the integers of the same images; both count as many outputs."""
    quantized = Model.load(files.quantized, files.quantized.with_suffix(".safetensors"))
    integers = load_real_data(load_digits().test_images[:20], "data", quantized.record.inputs)
    np.save(tmp_path / "integers.npy", integers.numpy().astype(np.int8))
    for data in (files.images, tmp_path / "integers.npy"):
        report = call_json(capsys, "verify", files.quantized, "--data", data)
        assert report["agree"] is True and report["examples"] == 20 and report["integers"] == 200


def test_the_table(capsys, files):
    """Oracle: the rows of the report."""
    status, output, _ = call(capsys, "verify", files.quantized, *EXAMPLES, "--seed", 3)
    assert status == 0
    for text in ("integer graph", "40, the reference", "CVM files, read back", "identical", "certificate", "holds",
                 "4 examples: every way that ran gave the same integers."):
        assert text in output


def test_refusals_of_the_library(capsys, tmp_path, files):
    """Oracle: its messages."""
    assert "integers as a whole" in refused(capsys, "verify", files.prepared)
    np.save(tmp_path / "illegal.npy", np.full((2, 1, 8, 8), 128, np.int16))
    assert "128" in refused(capsys, "verify", files.quantized, "--data", tmp_path / "illegal.npy")
    np.save(tmp_path / "odd.npy", np.zeros((3, 1, 8, 8), np.int8))
    assert "batch 2" in refused(capsys, "verify", files.deployed, "--data", tmp_path / "odd.npy")
    np.save(tmp_path / "wide.npy", np.zeros((2, 1, 9, 9), np.int8))
    assert "wrong shape" in refused(capsys, "verify", files.quantized, "--data", tmp_path / "wide.npy")


def test_wrong_usage(capsys, tmp_path, files):
    """Oracle: status 2."""
    assert "--examples" in misused(capsys, "verify", files.quantized, "--examples", 0)
    assert "none.npy" in misused(capsys, "verify", files.quantized, "--data", tmp_path / "none.npy").replace("\n", "")
