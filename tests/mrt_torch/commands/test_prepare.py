"""The command ``prepare``."""

from __future__ import annotations

import pytest
import torch

from mrt_torch import Model
from mrt_torch.demo import load_digits
from tests.mrt_torch.commands.calling import call, call_json, misused, refused


def test_it_writes_what_the_library_writes(capsys, tmp_path, files):
    """Oracle: Model.prepare and Model.save, by their bytes; the folder is made."""
    status, output, _ = call(capsys, "prepare", files.symbol, files.params, "--shape", "1,1,8,8",
                             "--output", tmp_path / "new" / "net")
    assert status == 0
    for suffix in (".json", ".safetensors"):
        written = tmp_path / "new" / f"net{suffix}"
        assert written.read_bytes() == files.prepared.with_suffix(suffix).read_bytes()
        assert str(written) in output


def test_it_counts_the_operators(capsys, tmp_path, files):
    """Oracle: the embedded network has four batch normalizations, which prepare folds into convolutions."""
    arguments = ("prepare", files.symbol, "--shape", "1,1,8,8", "--output", tmp_path / "net")
    counts = call_json(capsys, *arguments)
    assert counts["before"]["aten.batch_norm"] == 4 and "aten.batch_norm" not in counts["after"]
    assert counts["inputs"] == {"data": [1, 1, 8, 8]}
    assert counts["files"] == [str(tmp_path / "net.json"), str(tmp_path / "net.safetensors")]
    _, output, _ = call(capsys, *arguments)
    row = next(line for line in output.splitlines() if "batch_norm" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == ["aten.batch_norm", "4"]


def test_the_shape_of_the_file_is_the_default(capsys, tmp_path, files):
    """Oracle: the shape that the embedded symbol declares."""
    assert call_json(capsys, "prepare", files.symbol, "--output", tmp_path / "net")["inputs"] == {"data": [1, 1, 8, 8]}


def test_another_batch_stays_free(capsys, tmp_path, files):
    """Oracle: the float model on another batch yet."""
    call_json(capsys, "prepare", files.symbol, "--shape", "data=4,1,8,8", "--output", tmp_path / "net")
    images = load_digits().test_images[:3]
    again = Model.load(tmp_path / "net.json", tmp_path / "net.safetensors")
    assert torch.allclose(again(images), Model.load(files.symbol)(images), rtol=1e-4, atol=1e-4)  # float32 sums


def test_errors(capsys, tmp_path, files):
    """Oracle: status 1 and the library's messages; nothing is written."""
    output = ("--output", tmp_path / "net")
    assert "is no shape" in refused(capsys, "prepare", files.symbol, "--shape", "eight", *output)
    assert "no such input" in refused(capsys, "prepare", files.symbol, "--shape", "image=1,1,8,8", *output)
    assert "quantized model cannot be prepared" in refused(capsys, "prepare", files.quantized, *output)
    assert "quantized model cannot be prepared" in refused(capsys, "prepare", files.deployed, *output)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", [".", "..", "/"])
def test_an_output_without_a_name_is_wrong_usage(capsys, files, output):
    """Oracle: status 2."""
    assert "does not end in a name" in misused(capsys, "prepare", files.symbol, "--output", output)


def test_a_folder_that_cannot_be_made(capsys, tmp_path, files):
    """Oracle: the message of the operating system."""
    (tmp_path / "file").write_bytes(b"")
    assert str(tmp_path / "file") in refused(capsys, "prepare", files.symbol, "--output", tmp_path / "file" / "net")
