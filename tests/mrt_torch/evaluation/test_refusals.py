"""What evaluation refuses. Oracle: errors that name the model and the batch, and say what to do."""

from __future__ import annotations

import pytest
import torch

from mrt_torch import evaluate
from mrt_torch.data import ArrayDataset
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, MRTError
from tests.mrt_torch.evaluation.judged import Errors, dataset, labels, same, scores
from tests.mrt_torch.small_models import prepared


@pytest.mark.parametrize(("call", "words"), [
    (lambda: evaluate({}, dataset()), ["one or more models", "{}"]),
    (lambda: evaluate([same], dataset()), ["one or more models", "by name"]),
    (lambda: evaluate({"float": "model.json"}, dataset()), ["one or more models", "model.json"]),
    (lambda: evaluate({"float": same}, dataset(), 0), ["number of batches", "saw 0"]),
    (lambda: evaluate({"float": same}, dataset(), True), ["number of batches", "True"]),
    (lambda: evaluate({"float": same}, dataset(), 1.5), ["number of batches", "1.5"]),
    (lambda: evaluate({"float": same}, dataset(), devices=[]), ["list of devices", "[]"]),
    (lambda: evaluate({"float": same}, dataset(), devices="cpu"), ["list of devices", "'cpu'"]),
    (lambda: evaluate({"float": same}, dataset(), devices=["abacus"]), ["no device 'abacus'"]),
    (lambda: evaluate({"float": same}, dataset(rows=0)), ["no examples", "ArrayDataset"]),
])
def test_wrong_arguments(call, words):
    with pytest.raises(InvalidArgumentError) as caught:
        call()
    assert all(word in str(caught.value) for word in words) and caught.value.remedy


def from_batch(number: int, wrong):
    """A model that answers ``wrong(inputs)`` from a batch on."""
    calls = iter(range(100))
    return lambda inputs: wrong(inputs) if next(calls) >= number else inputs


@pytest.mark.parametrize(("wrong", "words"), [
    (lambda x: x.where(x != x[0, 0], torch.nan), "NaN.*1 of 16 numbers of output 0"),
    (lambda x: (x, x.log() * torch.nan), "NaN.*16 of 16 numbers of output 1"),
    (lambda x: x[:-1], r"another number of examples.*4 examples.*\(3, 4\)"),
    (lambda x: x.sum(), r"another number of examples.*4 examples.*\[\(\)\]"),
    (lambda x: (), r"another number of examples.*shapes \[\]"),
    (lambda x: {"scores": x}, "a batch must be a tensor.*saw dict"),
    (lambda x: x[:, 0], r"one label for each example.*scores \(4,\)"),
], ids=["NaN", "NaN in the second output", "an example less", "one number", "nothing", "a dictionary", "no classes"])
def test_wrong_answers_name_the_model_and_the_batch(wrong, words):
    with pytest.raises(InvalidArgumentError, match=f"(?s){words}") as caught:
        evaluate({"float": same, "other": from_batch(1, wrong)}, dataset())
    assert "model 'other', batch 1" in caught.value.where and caught.value.remedy


def test_labels_of_another_number_name_the_batch():
    class Short(ArrayDataset):
        def batches(self):
            yield scores(4), labels(4)
            yield scores(4), labels(3)
    with pytest.raises(InvalidArgumentError, match=r"inputs and labels.*\n.*batch 1\n.*\(4, 4\).*\(3,\)"):
        evaluate({"float": same}, Short((4, 4), scores(), labels()))


def test_labels_of_another_form():
    """A box for each example, where classes are expected."""
    data = ArrayDataset((4, 4), scores(), torch.zeros(10, 6))
    with pytest.raises(InvalidArgumentError, match=r"one label for each example.*\n.*model 'float', batch 0"):
        evaluate({"float": same}, data)


def test_answers_that_the_data_set_cannot_judge_or_compare():
    """Errors of torch inside it."""
    data = Errors((4, 4), scores(), torch.zeros(10, 3))
    with pytest.raises(InvalidArgumentError, match=r"cannot judge.*\n.*model 'float', batch 0\n.*\(4, 4\).*\(4, 3\)"):
        evaluate({"float": same}, data)

    class Incomparable(ArrayDataset):
        def agreement(self, first, second):
            return first == second[:, :3]
    with pytest.raises(InvalidArgumentError, match=r"cannot judge.*\n.*model 'again', batch 0\n"):
        evaluate({"float": same, "again": same}, Incomparable((4, 4), scores(), labels()))


def test_errors_of_the_library_keep_their_class_and_say_where():
    """Of a model, of ``validate`` and of ``agreement``."""
    def fail(*_):
        raise InvalidFileError("a picture is corrupt", where="picture 7", remedy="fetch it again")
    judging = type("Judging", (ArrayDataset,), {"validate": fail})((4, 4), scores(), labels())
    comparing = type("Comparing", (ArrayDataset,), {"agreement": fail})((4, 4), scores(), labels())
    for models, data, name in (({"float": fail}, dataset(), "float"), ({"float": same}, judging, "float"),
                               ({"float": same, "other": same}, comparing, "other")):
        with pytest.raises(InvalidFileError) as caught:
            evaluate(models, data)
        assert caught.value.where == f"picture 7, model '{name}', batch 0"


def test_errors_of_others_are_their_own():
    def fail(_):
        raise ZeroDivisionError("mine")
    for devices in (["cpu"], ["cpu", "cpu"]):
        with pytest.raises(ZeroDivisionError, match="mine"):
            evaluate({"float": fail}, dataset(), devices=devices)


def test_inputs_of_another_shape_name_the_batch():
    with pytest.raises(MRTError, match=r"wrong shape.*\n.*model 'float', batch 0"):
        evaluate({"float": prepared()}, dataset())
