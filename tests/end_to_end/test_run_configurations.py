"""A configuration file for each real MXNet network, through all stages. Oracles: the float network's known accuracy,
the bytes of the run before a restart, and the real runtime on the compiled folder.
"""

from __future__ import annotations

import csv
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from bridges.cvm.executor import cpu, formal
from mrt_torch import Model
from mrt_torch.data import DS_REG, ArrayDataset, ClassificationAccuracy, register_dataset
from mrt_torch.pipeline.run import run_configuration_file
from mrt_torch.pipeline.run_configuration import StartPoint
from tests.benchmarks import datasets

CONFIGURATIONS = Path(__file__).with_name("run_configurations")
NAMES = sorted(path.stem for path in CONFIGURATIONS.glob("*.ini"))
SPLIT = {"mtcnn_det3": ("conv6_3", "conv6_2", "conv6_1")}
# Top-1 of the float network on the pictures of its run, how many answers the integers share with it, and how much worse
# they may be. MobileNet's 32 pictures are resized once more than those of its published figure, and each is 3 points.
FLOAT_ACCURACY = {"mnist_lenet": 0.985, "cifar_resnet8": 0.70, "mobilenet_v1_025_imagenet": 0.35,
                  "mtcnn_det1": 0.96, "mtcnn_det2": 0.98, "mtcnn_det3": 0.98}
AGREEMENT, LOSS = {"mobilenet_v1_025_imagenet": 0.8}, {"mobilenet_v1_025_imagenet": 0.1}


@pytest.fixture(scope="module")
def face_crops():
    """A data set of the user's own: one class, whose answer is the last of several outputs."""
    @register_dataset("face_crops")
    class FaceCrops(ArrayDataset):
        def __init__(self, input_shape, root=None):
            pictures = datasets.faces(input_shape[-1])
            super().__init__(input_shape, pictures.evaluation, pictures.labels)

        def metrics(self):
            return LastOutput((1,))

        def agreement(self, first, second):
            return super().agreement(first[-1], second[-1])

    yield
    del DS_REG["face_crops"]


class LastOutput(ClassificationAccuracy):
    def update(self, predictions, labels):
        super().update(predictions[-1], labels)


def write_data(name: str, folder: Path) -> None:
    """The pictures of a run, as the data set of its configuration wants them."""
    if name == "mobilenet_v1_025_imagenet":
        with open(datasets.DATA / "imagenet_samples_labels.csv", newline="") as table:
            rows = [row for row in csv.DictReader(table) if row["split"] == "evaluation"][:32]
        images = folder / "image_folder"
        images.mkdir()
        with zipfile.ZipFile(datasets.DATA / "imagenet_samples.zip") as archive:
            for member in archive.namelist():
                if Path(member).name in {row["file"] for row in rows}:
                    (images / Path(member).name).write_bytes(archive.read(member))
        lines = [f"{row['file']},{row['label']}" for row in rows]
        (images / "labels.csv").write_text("\n".join(["file,label", *lines]))
        return
    pictures = {"mnist_lenet": datasets.mnist, "cifar_resnet8": datasets.cifar,
                "lffd_plate_small": lambda: datasets.scenes(160)}[name]()
    inputs = pictures.evaluation[:512].numpy()
    labels = np.zeros(len(inputs), np.int64) if pictures.labels is None else pictures.labels[:512].numpy()
    (folder / "npz").mkdir()
    np.savez(folder / "npz" / "test.npz", inputs=inputs, labels=labels)


@pytest.fixture(params=NAMES, scope="module")
def run_of(request, tmp_path_factory, shared_models, shared_data, face_crops):
    """Name, folder, overrides and summary of the run of a configuration."""
    name, tmp_path = request.param, tmp_path_factory.mktemp("run")
    if not name.startswith("mtcnn"):
        write_data(name, tmp_path)
    overrides = {"DEFAULT.Model_dir": str(tmp_path), "CALIBRATION.Dataset_dir": str(tmp_path),
                 "DEFAULT.Symbol_file": str(shared_models / f"{name}-symbol.json"),
                 "DEFAULT.Params_file": str(shared_models / f"{name}-0000.params")}
    summary = run_configuration_file(CONFIGURATIONS / f"{name}.ini", overrides)
    sys.stdout.write(f"\n{summary}\n")
    return name, tmp_path, overrides, summary


def deployed_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_and_its_restarts(run_of):
    name, folder, overrides, summary = run_of
    if summary.evaluation is not None:
        figures = summary.evaluation.models
        float_accuracy, accuracy = (figures[model].values["top1"] for model in ("float", "quantized"))
        assert float_accuracy >= FLOAT_ACCURACY[name] and accuracy >= float_accuracy - LOSS.get(name, 0.01)
        assert figures["quantized"].agreement >= AGREEMENT.get(name, 0.97)
    deployed = folder / f"{name}_cvm"
    sample, model = np.load(deployed / "data.npy"), Model.load_cvm(deployed)
    before = deployed_files(deployed), model.to_graph()(torch.from_numpy(sample).to(torch.int32))
    for start in list(StartPoint)[1:]:
        if not start.exists(SPLIT.get(name, ())):
            continue
        again = run_configuration_file(CONFIGURATIONS / f"{name}.ini", {
            **overrides, "DEFAULT.Start": start.name, "EVALUATION.Iter_num": "0"})
        assert again.stages[start - 1].outcome == "read"
        assert deployed_files(deployed) == before[0], start.name
    assert summary.size.gas > 0 and before[1]


@pytest.mark.cvm_runtime
def test_the_compiled_model_runs_on_its_data(run_of):
    """Both back ends of the runtime on data.npy give what the integer graph gives."""
    name, folder, _, _ = run_of
    sample = np.load(folder / f"{name}_cvm" / "data.npy")
    expected = Model.load_cvm(folder / f"{name}_cvm").to_graph()(torch.from_numpy(sample).to(torch.int32))
    for executor in (cpu, formal):
        outputs = executor.run(folder / f"{name}_cvm", sample)
        assert len(outputs) == len(expected)
        for output, wanted in zip(outputs, expected, strict=True):
            assert np.array_equal(output.reshape(wanted.shape), wanted.numpy())
