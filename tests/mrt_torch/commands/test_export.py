"""The command ``export``. Oracle: Model.to_cvm and Model.save in this process, by the bytes they write."""

from __future__ import annotations

import pytest
import torch

from mrt_torch import Model, reduce_graph
from mrt_torch.cvm.gas import gas
from mrt_torch.demo import load_digits
from tests.mrt_torch.commands.calling import call, call_json, misused, refused


@pytest.mark.parametrize("batch", [("--batch", 2), ("--shape", "2,1,8,8")], ids=str)
def test_to_the_cvm(capsys, tmp_path, files, batch):
    folder = tmp_path / "new" / "net"
    result = call_json(capsys, "export", files.quantized, "--to", "cvm", "--output", folder, *batch)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
        file.name: file.read_bytes() for file in files.deployed.iterdir()}
    assert result["files"] == {str(file): file.stat().st_size for file in folder.iterdir()}
    fixed = reduce_graph(Model.load(files.quantized, files.quantized.with_suffix(".safetensors")), (2, 1, 8, 8))
    assert result["gas"] == gas(fixed.module)
    status, output, _ = call(capsys, "export", files.quantized, "--to", "cvm", "--output", folder, *batch)
    assert status == 0 and f"gas {result['gas']:,} for an input of (2, 1, 8, 8)" in output and "params" in output


@pytest.mark.parametrize("name", ["net", "net-symbol.json"])
def test_to_mxnet(capsys, tmp_path, files, name):
    result = call_json(capsys, "export", files.quantized, "--to", "mxnet", "--output", tmp_path / name)
    assert (tmp_path / "net-symbol.json").read_bytes() == files.integer_symbol.read_bytes()
    assert (tmp_path / "net-0000.params").read_bytes() == files.integer_symbol.with_name(
        "integer-0000.params").read_bytes()
    assert result["gas"] is None and len(result["files"]) == 2


def test_a_deployed_model_becomes_a_symbol(capsys, tmp_path, files):
    """Oracle: the integers of the deployed model."""
    call_json(capsys, "export", files.deployed, "--to", "mxnet", "--output", tmp_path / "net")
    integers = torch.randint(-127, 128, (2, 1, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    again = Model.load(tmp_path / "net-symbol.json")
    assert torch.equal(again.to_graph()(integers)[0], Model.load_cvm(files.deployed).to_graph()(integers)[0])


@pytest.mark.parametrize("shape", [(), ("--shape", "3,1,8,8")], ids=str)
def test_a_float_model_becomes_a_symbol(capsys, tmp_path, files, shape):
    """Oracle: the float model; float32 sums in another order."""
    call_json(capsys, "export", files.prepared, "--to", "mxnet", "--output", tmp_path / "net", *shape)
    images = load_digits().test_images[:3]
    assert torch.allclose(Model.load(tmp_path / "net-symbol.json")(images), Model.load(files.symbol)(images),
                          rtol=1e-4, atol=1e-4)


def test_refusals_of_the_library(capsys, tmp_path, files):
    """Oracle: its messages; nothing is written."""
    cvm = ("--to", "cvm", "--output", tmp_path / "net")
    assert "only a quantized model" in refused(capsys, "export", files.prepared, *cvm)
    assert "only a quantized model" in refused(capsys, "export", files.symbol, *cvm, "--batch", 1)
    assert "no other shape" in refused(capsys, "export", files.quantized, *cvm, "--shape", "1,1,9,9")
    assert not list(tmp_path.iterdir())


def test_wrong_usage(capsys, tmp_path, files):
    """Oracle: status 2 and what contradicts."""
    output = ("--output", tmp_path / "net")
    assert "--to" in misused(capsys, "export", files.quantized, *output)
    assert "tflite" in misused(capsys, "export", files.quantized, "--to", "tflite", *output)
    assert "not both" in misused(capsys, "export", files.quantized, "--to", "cvm", *output, "--batch", 1,
                                 "--shape", "1,1,8,8")
    assert "--batch" in misused(capsys, "export", files.prepared, "--to", "mxnet", *output, "--batch", 1)
    assert "--batch" in misused(capsys, "export", files.quantized, "--to", "cvm", *output, "--batch", 0)
