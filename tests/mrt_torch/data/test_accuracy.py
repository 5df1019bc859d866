"""Accuracy of classifiers. Oracle: MXNet's metrics, and counting by hand."""

import numpy as np
import pytest
import torch

from mrt_torch.data import ClassificationAccuracy
from mrt_torch.errors import InvalidArgumentError


@pytest.mark.parametrize("classes", [5, 10])
def test_figures_are_those_of_mxnet(mxnet, classes):
    """Oracle: mx.metric.Accuracy and TopKAccuracy, on scores that are all different."""
    generator = np.random.default_rng(classes)
    ours, references = ClassificationAccuracy(), [mxnet.metric.Accuracy(), mxnet.metric.TopKAccuracy(5)]
    for size in (7, 1, 20):
        scores = generator.permutation(size * classes).reshape(size, classes).astype(np.float32)
        labels = generator.integers(0, classes, size)
        ours.update(torch.from_numpy(scores), torch.from_numpy(labels))
        for reference in references:
            reference.update(mxnet.nd.array(labels), mxnet.nd.array(scores))
    assert ours.values() == {"top1": references[0].get()[1], "top5": references[1].get()[1]}


def test_of_equal_scores_the_lower_class_comes_first():
    """Oracle: by hand."""
    metric = ClassificationAccuracy(ranks=(1, 2))
    metric.update(torch.tensor([[7, 7, 7]] * 3, dtype=torch.int32), torch.tensor([0, 1, 2]))
    assert metric.values() == {"top1": 1 / 3, "top2": 2 / 3}
    assert str(metric) == "top1=33.33% top2=66.67%"


@pytest.mark.parametrize(("scores", "labels"), [
    (torch.zeros(4, 3), torch.zeros(1)), (torch.zeros(4, 3), torch.zeros(4, 2)), (torch.zeros(4), torch.zeros(4))])
def test_one_label_for_each_row_of_scores(scores, labels):
    """Oracle: the rule; a label must never be repeated silently."""
    with pytest.raises(InvalidArgumentError, match="one label for each example"):
        ClassificationAccuracy().update(scores, labels)


def test_counts_of_parts_add_up_to_those_of_the_whole():
    """Oracle: a metric that saw everything."""
    scores, labels = torch.tensor([[1, 2, 3], [3, 2, 1], [2, 3, 1]]), torch.tensor([0, 0, 2])
    *parts, whole, sums = (ClassificationAccuracy((1, 2)) for _ in range(4))
    whole.update(scores, labels)
    for part, chosen in zip(parts, (slice(0, 1), slice(1, 3))):
        part.update(scores[chosen], labels[chosen])
    sums.load_counts({name: sum(part.counts()[name] for part in parts) for name in whole.counts()})
    assert sums.values() == whole.values() == {"top1": 1 / 3, "top2": 1 / 3}
