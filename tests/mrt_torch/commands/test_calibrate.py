"""The command ``calibrate``, on the embedded model. Oracle: MRT.calibrate in this process, by the bytes it saves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mrt_torch import MRT, Model
from mrt_torch.commands.calibration_data import Examples
from mrt_torch.data import dataset_called
from mrt_torch.demo import load_digits
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage
from tests.mrt_torch.commands.calling import call, call_json, misused, refused
from tests.mrt_torch.processes import run_python

SYMBOL = load_digits().symbol_file
IMAGES = load_digits().calibration_images[:20].numpy()
BATCH = 8  # the last of the three batches is smaller
SHAPE = "1,1,8,8"


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, bytes]:
    """The files that MRT saves, by name."""
    folder = tmp_path_factory.mktemp("expected")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as under torchrun: sums of floats depend on it
    try:
        model = Model.load(SYMBOL)
        model.prepare((1, 1, 8, 8))
        mrt = MRT(model)
        mrt.set_data([IMAGES[:8], IMAGES[8:16], IMAGES[16:]])
        mrt.calibrate()
    finally:
        torch.set_num_threads(threads)
    mrt.save("net", folder)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def two_inputs(folder: Path) -> None:
    """A model ``m`` of two inputs."""
    editor = GraphEditor(empty_graph_module())
    left, right = editor.input("left", (1, 3)), editor.input("right", (1, 3))
    editor.output([editor.call(torch.ops.aten.mul.Tensor, left, right, name="product")])
    editor.module.recompile()
    Model(editor.module, Stage.SOURCE).save(folder / "m.json", folder / "m.safetensors")


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def arguments(tmp_path) -> list[object]:
    """Those of a calibration into the folder ``out``."""
    np.save(tmp_path / "images.npy", IMAGES)
    return ["calibrate", SYMBOL, "--data", tmp_path / "images.npy", "--shape", SHAPE, "--batch", BATCH,
            "--output", tmp_path / "out" / "net"]


def test_it_saves_what_mrt_saves(capsys, tmp_path, arguments, expected, one_thread):
    status, output, _ = call(capsys, *arguments)
    assert status == 0
    assert output == f"observed {len(MRT.load('net', tmp_path / 'out').features)} activations on 20 examples in 3 " \
                     f"batches, 1 process; saved {tmp_path / 'out' / 'net'}.mrt.ext\n"
    assert contents(tmp_path / "out") == expected
    assert MRT.load("net", tmp_path / "out").quantize().is_quantized


def test_torchrun_with_two_processes_saves_the_same_bytes(tmp_path, arguments, expected):
    """And prints once."""
    done = run_python("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "mrt_torch",
                      *arguments, "--json", "--cache", tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"saved": f"{tmp_path / 'out' / 'net'}.mrt.ext", "examples": 20, "batches": 3,
                                       "features": len(MRT.load("net", tmp_path / "out").features), "processes": 2}
    assert contents(tmp_path / "out") == expected
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_cache_goes_on_and_notices_other_data(capsys, tmp_path, arguments, expected, one_thread):
    for _ in range(2):
        assert call(capsys, *arguments, "--cache", tmp_path / "cache")[0] == 0
        assert contents(tmp_path / "out") == expected
    np.save(tmp_path / "images.npy", IMAGES[::-1])
    status, output, errors = call(capsys, *arguments, "--cache", tmp_path / "cache")
    assert (status, output) == (1, "")
    assert "the calibration data changed" in errors and "batch 0" in errors and "what to do" in errors
    assert contents(tmp_path / "out") == expected


@pytest.mark.parametrize("arrays", [{"images": IMAGES}, {"data": IMAGES, "labels": np.arange(20)}],
                         ids=["one array", "by name"])
def test_npz_files(capsys, tmp_path, arguments, expected, arrays, one_thread):
    np.savez_compressed(tmp_path / "images.npz", **arrays)
    arguments[3] = tmp_path / "images.npz"
    assert call(capsys, *arguments)[0] == 0
    assert contents(tmp_path / "out") == expected


def test_several_inputs_come_from_a_npz_file(capsys, tmp_path):
    """Oracle: MRT with mappings of arrays."""
    two_inputs(tmp_path)
    arrays = {name: np.random.default_rng(seed).normal(size=(5, 3)).astype(np.float32)
              for seed, name in enumerate(("left", "right"))}
    np.savez(tmp_path / "data.npz", **arrays)
    status, _, errors = call(capsys, "calibrate", tmp_path / "m.json", "--data", tmp_path / "data.npz", "--batch", 2,
                             "--output", tmp_path / "m")
    assert status == 0, errors
    model = Model.load(tmp_path / "m.json", tmp_path / "m.safetensors")
    model.prepare()
    mrt = MRT(model)
    mrt.set_data([{name: array[start:start + 2] for name, array in arrays.items()} for start in (0, 2, 4)])
    mrt.calibrate()
    assert MRT.load("m", tmp_path).features == mrt.features
    np.savez(tmp_path / "data.npz", left=arrays["left"])
    status, _, errors = call(capsys, "calibrate", tmp_path / "m.json", "--data", tmp_path / "data.npz",
                             "--output", tmp_path / "m")
    assert status == 1 and "['left', 'right']" in errors


@pytest.mark.parametrize(("array", "words"), [
    (np.array([object()]), "cannot be read"), (np.float32(3), "array for each input"),
    (np.zeros((0, 1, 8, 8), np.float32), "no calibration data"), (np.zeros((4, 8, 8), np.float32), "wrong shape"),
    (np.full((4, 1, 8, 8), np.nan), "not finite"), (np.array(["text"]), "cannot become a tensor")],
    ids=["pickled", "scalar", "empty", "shape", "NaN", "text"])
def test_unusable_data(capsys, tmp_path, arguments, array, words):
    """The message of the library, without a traceback; nothing is saved."""
    np.save(tmp_path / "images.npy", array, allow_pickle=True)
    status, output, errors = call(capsys, *arguments)
    assert (status, output) == (1, "")
    assert errors.startswith("mrt-torch: ") and words in errors and "what to do" in errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no archive", b"text"])
def test_files_that_are_no_arrays(capsys, arguments, content):
    arguments[3].write_bytes(content)
    status, _, errors = call(capsys, *arguments)
    assert status == 1 and "cannot be read" in errors and str(arguments[3]) in errors


@pytest.mark.parametrize("change", [["--batch", "0"], ["--batches", "0"], ["--data", "none.npy"], ["--device"],
                                    ["--lambd", "much"], ["--dataset", "digits"]], ids=repr)
def test_wrong_usage(capsys, arguments, change):
    misused(capsys, *arguments, *change)


def test_examples_are_needed(capsys, tmp_path):
    assert "either --data or --dataset" in misused(capsys, "calibrate", SYMBOL, "--output", tmp_path / "net")


def test_a_data_set(capsys, tmp_path, one_thread):
    """Oracle: MRT on the first batches of the data set."""
    summary = call_json(capsys, "calibrate", SYMBOL, "--dataset", "digits", "--batch", 8, "--batches", 3, "--output",
                        tmp_path / "net", "--cache", tmp_path / "cache")
    assert (summary["examples"], summary["batches"]) == (24, 3)
    dataset = dataset_called("digits")((8, 1, 8, 8))
    model = Model.load(SYMBOL)
    model.prepare()
    mrt = MRT(model)
    mrt.set_data([dataset.batch(index)[0] for index in range(3)])
    mrt.calibrate()
    assert MRT.load("net", tmp_path).features == mrt.features


def test_as_many_batches_of_a_data_set_as_there_are(capsys, tmp_path):
    """Oracle: the number of its images; by default 64 of them in batches of 16."""
    arguments = ("calibrate", SYMBOL, "--dataset", "digits", "--output", tmp_path / "net")
    summary = call_json(capsys, *arguments, "--batch", 100, "--batches", 1000)
    assert (summary["examples"], summary["batches"]) == (449, 5)
    assert call_json(capsys, *arguments)["examples"] == 64


def test_some_batches_of_a_file(capsys, arguments):
    """Oracle: counted by hand; the file has 20 images."""
    assert call_json(capsys, *arguments, "--batches", 2)["examples"] == 16
    assert call_json(capsys, *arguments, "--batches", 9)["examples"] == 20


def test_a_data_set_that_is_not_there(capsys, tmp_path):
    """Oracle: the library's messages."""
    output = ("--output", tmp_path / "net")
    assert "abacus" in refused(capsys, "calibrate", SYMBOL, "--dataset", "abacus", *output)
    assert "nowhere" in refused(capsys, "calibrate", SYMBOL, "--dataset", "npz", "--dataset-dir", "nowhere", *output)


def test_a_data_set_has_one_input(capsys, tmp_path):
    """Oracle: the message names the inputs of the model."""
    two_inputs(tmp_path)
    errors = refused(capsys, "calibrate", tmp_path / "m.json", "--dataset", "digits", "--output", tmp_path / "m")
    assert "['left', 'right']" in errors and "--data" in errors


def test_a_prepared_model_is_taken_as_it_is(capsys, tmp_path, files, arguments, expected, one_thread):
    arguments[1] = files.prepared
    del arguments[4:6]  # no shape
    assert call(capsys, *arguments)[0] == 0
    assert contents(tmp_path / "out") == expected


def test_lambd_reaches_mrt(capsys, tmp_path, arguments):
    """Oracle: MRT with the same data."""
    call_json(capsys, *arguments, "--lambd", 2)
    model = Model.load(SYMBOL)
    model.prepare((1, 1, 8, 8))
    mrt = MRT(model)
    mrt.set_data([IMAGES[:8], IMAGES[8:16], IMAGES[16:]])
    mrt.calibrate(lambd=2)
    assert MRT.load("net", tmp_path / "out").th_dict == mrt.th_dict


def test_an_unknown_device_and_a_missing_shape(capsys, arguments):
    status, _, errors = call(capsys, *arguments, "--device", "abacus")
    assert status == 1 and "abacus" in errors
    status, _, errors = call(capsys, *arguments, "--shape", "1,2,8,8")
    assert status == 1 and "what to do" in errors


def test_help_has_an_example(capsys):
    status, output, _ = call(capsys, "calibrate", "--help")
    assert status == 0
    assert "mrt-torch calibrate net-symbol.json --data images.npy" in output and "torchrun" in output


@pytest.mark.parametrize("axis", [0, 1])
def test_examples_are_cut_on_the_batch_axis(axis):
    """Oracle: torch.split."""
    array = np.arange(60).reshape(10, 6)
    examples = Examples(array, 4, axis)
    expected = torch.as_tensor(array).split(4, axis)
    assert examples.count == array.shape[axis] and len(examples) == len(expected)
    for batch, other in zip(examples, expected, strict=True):
        assert np.array_equal(batch, other.numpy())
    with pytest.raises(IndexError):
        examples[len(examples)]
