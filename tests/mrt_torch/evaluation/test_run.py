"""Oracles: counts by hand over all examples with NumPy; the float model called directly on the whole data."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from torch import nn

from mrt_torch import Model, evaluate
from mrt_torch.data import ArrayDataset
from mrt_torch.evaluation import progress as progress_module
from tests.mrt_torch.evaluation.judged import Errors, coarse, dataset, labels, same, scores
from tests.mrt_torch.small_models import calibrated, images, prepared

MNIST_IMAGES = 1000


def direct(answers: torch.Tensor, classes: torch.Tensor) -> dict[str, float]:
    """Top-1 and top-5 accuracy by NumPy, of scores that are not equal."""
    order = np.argsort(-answers.numpy(), axis=1)
    hits = order == classes.numpy()[:, None]
    return {"top1": hits[:, :1].any(1).mean(), "top5": hits[:, :5].any(1).mean()}


def test_figures_are_those_of_a_direct_count():
    """Three batches, the last one smaller. Tolerance of the ratio: another order of float64 sums."""
    report = evaluate({"float": same, "coarse": coarse}, dataset())
    exact, other = scores(), coarse(scores())
    assert report.examples == 10 and list(report.models) == ["float", "coarse"]
    assert report["float"].values == direct(exact, labels()) and report["coarse"].values == direct(other, labels())
    assert report["float"].agreement is None and report["float"].signal_to_noise is None
    assert report["coarse"].agreement == (exact.argmax(1) == other.argmax(1)).double().mean()
    ratio = 10 * np.log10((exact.double() ** 2).sum() / ((exact.double() - other.double()) ** 2).sum())
    assert report["coarse"].signal_to_noise == pytest.approx(float(ratio), rel=1e-12)
    assert 0 < report["coarse"].agreement < 1  # else the test tells little


@pytest.mark.parametrize(("batches", "examples"), [(1, 4), (2, 8), (3, 10), (9, 10), (None, 10)])
def test_so_many_batches_at_most(batches, examples):
    report = evaluate({"float": same}, dataset(), batches)
    assert report.examples == examples
    assert report["float"].values == direct(scores()[:examples], labels()[:examples])


def test_equal_answers_have_no_noise():
    report = evaluate({"float": same, "again": same}, dataset())
    assert report["again"].agreement == 1.0 and report["again"].signal_to_noise == np.inf


@pytest.mark.parametrize("answer", [
    lambda x: (x, x), lambda x: (x * 64).int(), lambda x: torch.cat([x, x], 1), lambda x: x / torch.zeros(4),
    ], ids=["several outputs", "integers", "more classes", "infinite"])
def test_no_ratio_of_answers_that_are_no_floats_of_one_size(answer):
    report = evaluate({"float": same, "other": answer}, dataset())
    assert report["other"].signal_to_noise is None and report["other"].agreement is not None


def test_arrays_of_other_libraries():
    """NumPy in, NumPy out, a list of one output."""
    report = evaluate({"float": lambda x: [x.numpy()]}, dataset())
    assert report["float"].values == direct(scores(), labels())


def test_the_batch_may_lie_on_another_axis():
    class Sentences(ArrayDataset):
        batch_axis = 1

        def _check_shape(self):
            pass

    sentences = Sentences((4, 3), scores(), labels())  # examples of 4 tokens, in batches of 3
    report = evaluate({"float": torch.t}, sentences, devices=["cpu", "cpu"])
    assert report.examples == 10 and report["float"].values == direct(scores(), labels())


@pytest.mark.parametrize("devices", [["cpu"], ["cpu"] * 2, ["cpu"] * 3, ["cpu"] * 20], ids=len)
def test_several_devices_give_the_same(devices):
    """A batch of 5 on 2 and 3 devices is not even; of 20 devices most get nothing."""
    mrt = calibrated()
    data = ArrayDataset((5, 3, 6, 6), images(12, seed=3), torch.arange(12) % 3)
    report = evaluate({"float": prepared(), "integer": mrt.quantize()}, data, devices=devices)
    answers = {"float": prepared()(images(12, seed=3)), "integer": mrt.quantize()(images(12, seed=3))}
    for name, answer in answers.items():
        assert report[name].values == direct(answer, torch.arange(12) % 3)
    assert report["integer"].agreement == (answers["float"].argmax(1) == answers["integer"].argmax(1)).double().mean()
    assert report.devices == tuple(devices)


def test_integer_answers_are_the_same_to_the_last_bit_on_any_number_of_devices():
    mrt = calibrated(heads=2)
    graph = mrt.quantize()
    seen: list[tuple[torch.Tensor, ...]] = []

    class Kept(ArrayDataset):
        def validate(self, metrics, predict, label):
            seen.append(predict)
            return ""

    for count in (1, 2, 3):
        evaluate({"integer": graph}, Kept((7, 3, 6, 6), images(7, seed=3), torch.zeros(7)), devices=["cpu"] * count)
    for answers in seen[1:]:
        assert all(torch.equal(one, other) for one, other in zip(seen[0], answers, strict=True))


def mnist(shared_data) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Calibration images, test images as the network was trained on them, and labels."""
    with np.load(shared_data / "mnist.npz") as file:
        def scaled(pixels):
            return ((torch.from_numpy(pixels).float().unsqueeze(1) / 255) - 0.1307) / 0.3081
        return (scaled(file["train_images"][:64]), scaled(file["test_images"][:MNIST_IMAGES]),
                torch.from_numpy(file["test_labels"][:MNIST_IMAGES]).long())


def test_lenet_as_it_was_loaded_and_in_integers(shared_models, shared_data):
    calibration, test, classes = mnist(shared_data)
    files = shared_models / "mnist_lenet-symbol.json", shared_models / "mnist_lenet-0000.params"
    prepared_model = Model.load(*files)
    prepared_model.prepare((1, 1, 28, 28))
    mrt = prepared_model.get_mrt()
    mrt.set_data(calibration)
    mrt.calibrate()
    integer = mrt.quantize()
    data = ArrayDataset((150, 1, 28, 28), test, classes)
    report = evaluate({"float": prepared_model, "integer": integer}, data)
    with torch.no_grad():
        answers = prepared_model(test), integer(test)
    for name, answer in zip(report.models, answers, strict=True):
        assert report[name].values["top1"] == (answer.argmax(1) == classes).sum().item() / MNIST_IMAGES
    assert report["integer"].agreement == (answers[0].argmax(1) == answers[1].argmax(1)).sum().item() / MNIST_IMAGES
    assert report["float"].values["top1"] > 0.98 and report["integer"].agreement > 0.99
    assert report["integer"].signal_to_noise > 35
    assert report["float"].seconds_per_image > 0


def test_all_but_the_times_is_the_same_at_every_run():
    def once() -> dict:
        found = evaluate({"float": same, "coarse": coarse}, dataset()).to_json()
        for figures in found["models"].values():
            assert figures.pop("seconds_per_image") > 0
        return found
    assert once() == once() == json.loads(json.dumps(once(), allow_nan=False))


def test_the_first_batch_does_not_count_in_the_time(monkeypatch):
    """Oracle: a clock that says how long each call takes: 4 examples in 1000 s, 4 in 8 s and 2 in 4 s."""
    readings = iter([0, 1000, 2000, 2008, 3000, 3004])
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(readings) * 10 ** 9)
    assert evaluate({"float": same}, dataset())["float"].seconds_per_image == 2.0


def test_one_batch_alone_does(monkeypatch):
    readings = iter([0, 1000])
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(readings) * 10 ** 9)
    assert evaluate({"float": same}, dataset(), 1)["float"].seconds_per_image == 250.0


def test_a_data_set_that_judges_in_its_own_way():
    report = evaluate({"float": same}, Errors((4, 4), scores(), labels()))
    assert report["float"].values == {}
    assert report["float"].text == f"{int((scores().argmax(1) != labels()).sum())} wrong"
    assert report.dataset == "Errors"


class Slow:
    """A metric whose figures are asked for as seldom as possible."""

    texts = 0

    def update(self, predictions, labels):
        pass

    def values(self):
        return {"none": 0.0}

    def __str__(self):
        Slow.texts += 1
        return "slow"


def test_texts_are_made_only_where_they_are_shown(monkeypatch, caplog):
    """Once for the report, of which the last line of the log tells; no other line is due so soon."""
    monkeypatch.setattr(ArrayDataset, "metrics", lambda self: Slow())
    monkeypatch.setattr(Slow, "texts", 0)
    with caplog.at_level(logging.INFO):
        evaluate({"float": same}, dataset(rows=100), progress=False)
    assert Slow.texts == 1 and [record.getMessage() for record in caplog.records] == ["100 examples: float slow"]


def test_figures_so_far_are_logged(monkeypatch, caplog):
    monkeypatch.setattr(progress_module, "LOG_SECONDS", 0.0)
    monkeypatch.setattr(progress_module, "PATIENCE", 0)
    with caplog.at_level(logging.INFO):
        evaluate({"float": same, "again": same}, dataset())
    right = (scores().argmax(1) == labels()).cumsum(0)
    lines = [f"{count} examples: float top1={right[count - 1] / count:.2%} top5=100.00%, "
             f"again top1={right[count - 1] / count:.2%} top5=100.00%" for count in (4, 8, 10, 10)]
    assert [record.getMessage() for record in caplog.records] == lines


def test_figures_so_far_stand_behind_the_bar(monkeypatch, capsys):
    monkeypatch.setattr(progress_module, "BAR_SECONDS", 0.0)
    monkeypatch.setattr(progress_module, "PATIENCE", 0)
    evaluate({"float": same}, dataset(), progress=True)
    shown = capsys.readouterr().err
    assert "evaluate" in shown and "/3 " in shown
    right = (scores().argmax(1) == labels()).cumsum(0)
    for count in (4, 8, 10):
        assert f"float top1={right[count - 1] / count:.2%} top5=100.00%" in shown


def test_no_bar_where_there_is_no_terminal(capsys):
    evaluate({"float": same}, dataset())
    assert capsys.readouterr() == ("", "")


def test_modules_are_left_as_they_are():
    module = nn.Linear(4, 3).eval()
    before = module.weight.device
    report = evaluate({"float": module}, dataset())
    assert report["float"].values == direct(module(scores()).detach(), labels())
    assert module.weight.device == before and module.weight.grad is None


def test_infinite_answers_are_no_error():
    """Masked classes have a score of minus infinity."""
    def masked(inputs):
        return torch.cat([inputs, torch.full((len(inputs), 2), -torch.inf)], 1)
    assert evaluate({"float": masked}, dataset())["float"].values == direct(scores(), labels())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_devices_give_the_same_integers():
    """Oracle: the same on the CPU. Devices mixed too; the Models stay where they were."""
    model, integer = prepared(), calibrated().quantize()
    data = ArrayDataset((5, 3, 6, 6), images(12, seed=3), torch.arange(12) % 3)
    expected = evaluate({"integer": integer, "again": integer}, data)
    for devices in (["cuda"], ["cuda:0", "cpu"], ["cuda", "cuda"]):
        report = evaluate({"integer": integer, "float": model, "module": nn.Flatten()}, data, devices=devices)
        assert report["integer"].values == expected["integer"].values
        on_both = evaluate({"cpu": lambda x: integer(x.cpu()), "cuda": integer}, data, devices=devices)
        assert on_both["cuda"].signal_to_noise == np.inf
    assert all(buffer.device.type == "cpu" for buffer in model.module.buffers())
