"""The loops that MRT documents. Oracles: lines written out by hand; counts by hand."""

from __future__ import annotations

import logging
import re

import pytest
import torch

from mrt_torch import evaluate, multi_validate
from mrt_torch.evaluation import eval_time_accuracy, multi_eval_accuracy
from tests.mrt_torch.evaluation.judged import coarse, dataset, labels, same, scores


def right(answers: torch.Tensor, classes: torch.Tensor) -> int:
    return int((answers.argmax(1) == classes).sum())


def test_texts_as_data_sets_give_them(caplog):
    """What the original failed on. Ten examples in batches of 4, 4 and 2, fewer than the iterations."""
    data = dataset()
    float_metric, integer_metric = data.metrics(), data.metrics()

    def evalfunc(inputs, label):
        return data.validate(float_metric, same(inputs), label)

    def quantize(inputs, label):
        return data.validate(integer_metric, coarse(inputs), label)

    with caplog.at_level(logging.INFO):
        texts = multi_validate(evalfunc, data.iter_func(), quantize, iter_num=7)
    expected = [f"top1={right(answers, labels()) / 10:.2%} top5=100.00%" for answers in (scores(), coarse(scores()))]
    assert texts == expected
    lines = [record.getMessage() for record in caplog.records]
    assert [int(re.fullmatch(r"Iteration: +(\d+) \| .*", line)[1]) for line in lines] == [0, 1, 2]
    assert [int(line.rsplit("Total Sample: ", 1)[1]) for line in lines] == [4, 8, 10]
    assert f"| evalfunc: {texts[0]} | quantize: {texts[1]} | time: " in lines[-1]
    assert re.search(r"time: \d+\.\d\dms \d+\.\d\dms \|", lines[-1])


def test_pairs_of_accuracy_and_milliseconds_mixed_with_texts():
    lines = []

    class Collector:
        @staticmethod
        def info(message, *arguments):
            lines.append(message % arguments)

    def base(data, label):
        return 0.5, 12

    def first(data, label):
        return "half", 3.25

    def second(data, label):
        return "all"

    texts = multi_validate(base, lambda: (None, None), first, second, iter_num=2, logger=Collector, batch_size=8)
    assert texts == ["0.5", "half", "all"]
    assert re.fullmatch(r"Iteration:   1 \| base: 0\.5 \| first: half \| second: all \| "
                        r"time: 12\.00ms 3\.25ms \d+\.\d\dms \| Total Sample:    16", lines[1])


def test_no_more_than_so_many_iterations_and_none_without_data():
    calls = iter(range(100))
    assert multi_validate(lambda data, label: str(data), lambda: (next(calls), [0, 0]), iter_num=3) == ["2"]
    assert next(calls) == 3  # and no batch more was taken
    assert multi_validate(lambda data, label: "x", iter([]).__next__) == []


def test_accuracy_of_functions(caplog):
    """Two that have one name are told apart."""
    def again(inputs):
        return coarse(inputs)
    again.__name__ = "coarse"
    with caplog.at_level(logging.INFO):
        report = multi_eval_accuracy(same, dataset().iter_func(), coarse, again, iter_num=2)
    assert list(report.models) == ["same", "coarse 1", "coarse 2"] and report.examples == 8
    assert report["same"].values["top1"] == right(scores()[:8], labels()[:8]) / 8
    agreeing = (scores()[:8].argmax(1) == coarse(scores()[:8]).argmax(1)).sum().item()
    assert report["coarse 2"].agreement == agreeing / 8
    assert str(report) in caplog.text and report.dataset == "iterator"


@pytest.mark.parametrize("comp", [None, coarse])
def test_times_of_functions(comp):
    report = eval_time_accuracy(same, dataset().iter_func(), comp, iter_num=10)
    expected = evaluate({"same": same} if comp is None else {"same": same, "coarse": coarse}, dataset())
    for name, figures in report.models.items():
        assert figures.values == expected[name].values and figures.agreement == expected[name].agreement
        assert figures.seconds_per_image > 0
    assert len(report.models) == (1 if comp is None else 2)
