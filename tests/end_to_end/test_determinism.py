"""Oracle: the bytes of another run, in this process and in others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mrt_torch import Model
from mrt_torch.demo.digits import load_digits
from tests.end_to_end.models import CASES, ROWS, bytes_of, calibrated

REPOSITORY = Path(__file__).resolve().parents[2]


def deploy(folder, lambd=None) -> Path:
    """The embedded model, deployed into a folder."""
    digits = load_digits()
    model = Model.load(digits.symbol_file, digits.params_file)
    model.prepare((ROWS, 1, 8, 8))
    mrt = model.get_mrt()
    mrt.set_data(digits.calibration_images[:128].split(32))
    mrt.calibrate(lambd=lambd)
    quantized = mrt.quantize()
    quantized.save(folder / "q.json", folder / "q.safetensors")
    return quantized.to_cvm("digits", folder)


@pytest.fixture
def threads():
    """Restores the number of threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("lambd", [None, 3.0])
def test_runs_and_thread_counts_give_the_same_bytes(tmp_path, threads, lambd):
    seen = []
    for index, count in enumerate((1, 2, 1)):
        folder = tmp_path / str(index)
        folder.mkdir()
        threads(count)
        deployed = bytes_of(deploy(folder, lambd))
        assert set(deployed) == {"symbol", "params", "ext"}
        seen.append((deployed, (folder / "q.json").read_bytes(), (folder / "q.safetensors").read_bytes()))
    assert seen[0] == seen[1] == seen[2]


def test_other_processes_and_hash_seeds_give_the_same_bytes(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    there = tmp_path / "there"
    there.mkdir()
    code = (f"import pathlib; from tests.end_to_end.test_determinism import deploy; "
            f"deploy(pathlib.Path({str(there)!r}))")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, cwd=REPOSITORY,
                   env={**os.environ, "PYTHONHASHSEED": "12345"})
    assert bytes_of(deploy(here)) == bytes_of(there / "digits")
    for name in ("q.json", "q.safetensors"):
        assert (here / name).read_bytes() == (there / name).read_bytes()


def test_a_larger_model_too(shared_models, tmp_path, threads):
    (case,) = (case for case in CASES if case.name == "cifar_resnet8")
    seen = []
    for count in (1, 2):
        threads(count)
        seen.append(bytes_of(calibrated(case, shared_models).quantize().to_cvm(case.name, tmp_path / str(count))))
    assert seen[0] == seen[1]
