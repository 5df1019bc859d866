"""The command ``inspect``."""

from __future__ import annotations

import json

import pytest

from mrt_torch.demo import load_digits
from tests.mrt_torch.commands.calling import call, call_json, misused, refused


@pytest.fixture
def undecided(tmp_path):
    """The digits network with an operator that no library has for its second relu; its parameters beside it."""
    digits = load_digits()
    symbol = json.loads(digits.symbol_file.read_text())
    relus = [node for node in symbol["nodes"] if node["op"] in ("relu", "Activation")]
    relus[1]["op"] = "mystery"
    path = tmp_path / "net-symbol.json"
    path.write_text(json.dumps(symbol))
    (tmp_path / "net-0000.params").write_bytes(digits.params_file.read_bytes())
    return path, relus[1]["name"], [node["name"] for node in symbol["nodes"] if node["op"] == "BatchNorm"][1]


def test_json(capsys):
    """Oracle: the embedded model as its training script describes it."""
    description = call_json(capsys, "inspect", load_digits().symbol_file)
    assert description["operators"]["Convolution"] == description["operators"]["BatchNorm"] == 4
    assert description["inputs"] == [{"name": "data", "shape": [1, 1, 8, 8]}]
    assert description["unsupported"] == []


def test_for_a_person(capsys):
    """Oracle: the embedded model as its training script describes it."""
    status, output, _ = call(capsys, "inspect", load_digits().symbol_file, load_digits().params_file,
                             "--shape", "2,1,8,8")
    assert status == 0
    for text in ("FullyConnected", "24 tensors, 33,674 numbers, 134,696 bytes", "data (2, 1, 8, 8)", "dense (2, 10)",
                 "unsupported none"):
        assert text in output


def test_it_explains_the_rules(capsys):
    """Oracle: the embedded network, whose BatchNorms are folded and whose relus have no transpose before them."""
    digits = load_digits()
    arguments = ("inspect", "--explain", digits.symbol_file, digits.params_file, "--shape", "1,1,8,8")
    report = call_json(capsys, *arguments)
    assert report["rounds"] >= 1
    assert report["rewrite"]["BatchNorm"]["fired"] > 0 and not report["rewrite"]["BatchNorm"]["declined"]
    assert set(report["fuse_transpose"]["Relu"]["declined"].values()) == {"no transpose is before it"}
    status, output, _ = call(capsys, *arguments)
    assert status == 0 and "BatchNorm" in output and "no transpose is before it" in output


def test_a_deployed_model_has_no_rules_to_explain(capsys, tmp_path):
    """Oracle: the message says what to explain instead."""
    assert "explain the float model" in refused(capsys, "inspect", "--explain", tmp_path)


def test_it_suggests_where_to_split(capsys, undecided):
    """Oracle: the BatchNorm below the unknown operator; the printed keys split the model."""
    path, name, key = undecided
    found = call_json(capsys, "inspect", "--suggest-split", path)
    assert found["needed"] and found["complete"] and found["note"] is None
    assert [(entry["name"], entry["because"]) for entry in found["keys"]] == [(key, [f"node '{name}' (mystery)"])]
    status, output, _ = call(capsys, "inspect", "--suggest-split", path, "--shape", "1,1,8,8")
    assert status == 0 and f"[SPLIT_MODEL]\nKeys=\n  {key}\n" in output and f'model.split(["{key}"])' in output
    assert f"node '{name}' (mystery): it has no converter" in output


def test_it_says_that_no_split_is_needed(capsys, files):
    """Oracle: the digits network is supported, as a file of MXNet and as ours."""
    for path in (load_digits().symbol_file, files.prepared):
        status, output, _ = call(capsys, "inspect", "--suggest-split", path)
        assert (status, output) == (0, "no split is needed\n")
        assert call_json(capsys, "inspect", "--suggest-split", path)["keys"] == []


def test_what_needs_no_split_at_all(capsys, files):
    """Oracle: the message says what to inspect instead."""
    for path in (files.quantized, files.deployed, files.integer_symbol):
        assert "inspect the float model" in refused(capsys, "inspect", "--suggest-split", path)
    assert "exclude each other" in misused(capsys, "inspect", "--suggest-split", "--explain", files.prepared)
