"""The command ``quantize``, on the embedded model. Oracle: MRT in this process, by the bytes it saves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrt_torch import MRT, Model
from tests.mrt_torch.commands.calling import call, call_json, misused, refused

ENDINGS = (".json", ".safetensors")


def saved(mrt: MRT, folder: Path) -> list[bytes]:
    """The files of the quantized model."""
    paths = [folder / f"expected{ending}" for ending in ENDINGS]
    mrt.quantize().save(*paths)
    return [path.read_bytes() for path in paths]


def written(stem: Path) -> list[bytes]:
    return [stem.with_name(f"{stem.name}.quantized{ending}").read_bytes() for ending in ENDINGS]


def test_what_calibrate_saved(capsys, tmp_path, files):
    """The state's own files stay as they are."""
    before = {path.name: path.read_bytes() for path in files.state.parent.glob("net.mrt.*")}
    for name in (files.state, f"{files.state}.mrt.ext"):
        result = call_json(capsys, "quantize", name, "--output", tmp_path / "net")
        assert written(tmp_path / "net") == saved(MRT.load("net", files.state.parent), tmp_path)
    assert {path.name: path.read_bytes() for path in files.state.parent.glob("net.mrt.*")} == before
    assert result["files"] == [str(tmp_path / f"net.quantized{ending}") for ending in ENDINGS]


def test_the_summary(capsys, tmp_path, files):
    """Oracle: the graph that was saved, counted here, and its record."""
    result = call_json(capsys, "quantize", files.state, "--output", tmp_path / "net")
    model = Model.load(*result["files"])
    nodes = [node for node in model.module.graph.nodes if node.op == "call_function"]
    assert sum(result["operators"].values()) == result["size"]["operators"] == len(nodes)
    assert result["inputs"] == [{"name": "data", "shape": [1, 1, 8, 8], "bits": 8,
                                 "scale": model.record.inputs["data"]["scale"]}]
    assert result["outputs"][0]["scale"] == model.record.output_scales[0]
    assert result["size"]["parameters"] == sum(tensor.numel() for tensor in model.module.buffers())
    assert result["size"]["gas"] > 0 and result["size"]["bits"] <= 32
    _, output, _ = call(capsys, "quantize", files.state, "--output", tmp_path / "net")
    assert f"{result['size']['gas']:,}" in output and "8 bits" in output and "cvm.conv2d" in output


def test_every_option_reaches_mrt(capsys, tmp_path, files):
    status, _, errors = call(capsys, "quantize", files.state, "--output", tmp_path / "net", "--input-precision", 9,
                             "--output-precision", 10, "--weight-precision", 7, "--accuracy", "best",
                             "--softmax-lambd", 8, "--shift-bits", 9, "--threshold", "dense=40",
                             "--threshold", "data=0.5")
    assert status == 0, errors
    mrt = MRT.load("net", files.state.parent)
    mrt.set_input_prec(9)
    mrt.set_output_prec(10)
    mrt.set_accuracy("best")
    mrt.set_weight_precision(7)
    mrt.set_softmax_lambd(8)
    mrt.set_shift_bits(9)
    mrt.set_threshold("dense", 40)
    mrt.set_threshold("data", 0.5)
    assert written(tmp_path / "net") == saved(mrt, tmp_path)


@pytest.mark.parametrize("restored", ["dense", "_OP_FullyConnected"])
def test_restored_nodes_stay_in_float(capsys, tmp_path, files, restored):
    result = call_json(capsys, "quantize", files.state, "--output", tmp_path / "net", "--restore", restored)
    mrt = MRT.load("net", files.state.parent)
    mrt.set_restore("dense")
    assert written(tmp_path / "net") == saved(mrt, tmp_path)
    assert result["float_operators"] == ["dense"] and result["size"]["gas"] is None
    _, output, _ = call(capsys, "quantize", files.state, "--output", tmp_path / "net", "--restore", restored)
    assert "in float    dense" in output


def test_in_one_step(capsys, tmp_path, files):
    """Oracle: calibrate, then quantize; the state is saved too."""
    data = ("--data", files.images, "--shape", "1,1,8,8", "--batch", 8)
    assert call(capsys, "calibrate", files.symbol, *data, "--output", tmp_path / "two")[0] == 0
    assert call(capsys, "quantize", tmp_path / "two")[0] == 0
    status, _, errors = call(capsys, "quantize", files.symbol, *data, "--output", tmp_path / "one")
    assert status == 0, errors
    assert written(tmp_path / "one") == written(tmp_path / "two")
    assert MRT.load("one", tmp_path).features == MRT.load("two", tmp_path).features


def test_wrong_usage(capsys, tmp_path, files):
    """Oracle: status 2, and a message that says what is missing or contradicts."""
    output = ("--output", tmp_path / "net")
    assert "none.mrt.ext" in misused(capsys, "quantize", tmp_path / "none", *output).replace("\n", "")
    assert "--data or --dataset" in misused(capsys, "quantize", files.symbol, *output)
    assert "--output" in misused(capsys, "quantize", files.symbol, "--data", files.images)
    assert "--shape" in misused(capsys, "quantize", files.state, "--shape", "1,1,8,8")
    assert "NODE=VALUE" in misused(capsys, "quantize", files.state, "--threshold", "dense")
    assert "NODE=VALUE" in misused(capsys, "quantize", files.state, "--threshold", "dense=much")
    assert "original" in misused(capsys, "quantize", files.state, "--accuracy", "worst")
    assert "either --data or --dataset" in misused(capsys, "quantize", files.symbol, "--data", files.images,
                                                   "--dataset", "digits", *output)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "words"), [
    (("--input-precision", 1), "2 to 31"), (("--weight-precision", 9), "2 to 8"), (("--shift-bits", 0), "1 to 16"),
    (("--softmax-lambd", -1), "softmax_lambd"), (("--threshold", "nobody=3"), "nobody"),
    (("--threshold", "dense=-1"), "-1"), (("--restore", "nobody"), "nobody"), (("--restore", "_OP_Nothing"), "Nothing"),
], ids=str)
def test_bad_values(capsys, tmp_path, files, option, words):
    """Oracle: the library's message; nothing is written."""
    assert words in refused(capsys, "quantize", files.state, "--output", tmp_path / "net", *option)
    assert not list(tmp_path.iterdir())


def test_a_damaged_state(capsys, tmp_path):
    """Oracle: the file is named."""
    (tmp_path / "net.mrt.ext").write_text("{}\n")
    assert "net.mrt.ext" in refused(capsys, "quantize", tmp_path / "net")
