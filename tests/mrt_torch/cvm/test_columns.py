"""What is proven about one column, against the values of a run."""

from __future__ import annotations

import operator
from random import Random

import pytest
import torch
from torch import fx

from mrt_torch.cvm import Interval
from mrt_torch.cvm.columns import column_range, common_producer, readers
from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.facts import facts_of
from tests.bridges.cvm.graphs import cvm, integer_graph, integers
from tests.mrt_torch.cvm.detection_graphs import detection_graph

IDS = Interval(3, 9)


def marked(editor, data):
    """(1, 4, 6) whose column 2 holds 3..9 and no other is known."""
    ids = editor.constant("ids", torch.tensor([[[3], [9], [5], [4]]], dtype=torch.int32))
    left = editor.call(cvm.strided_slice.default, data, begin=[0, 0, 0], end=[1, 4, 2], stride=[1, 1, 1])
    right = editor.call(cvm.strided_slice.default, data, begin=[0, 0, 2], end=[1, 4, 5], stride=[1, 1, 1])
    return editor.call(cvm.concatenate.default, [left, ids, right], axis=2)


def add(editor, x, other):
    return editor.call(cvm.broadcast_add.default, x, editor.constant("other", torch.tensor(other, dtype=torch.int32)))


# What is done to the marked tensor, the column then, and what is known of it.
CASES = {
    "reshape": (lambda e, x: e.call(cvm.reshape.default, x, shape=[2, 2, 6]), 2, IDS),
    "squeeze": (lambda e, x: e.call(cvm.squeeze.default, x, axis=[0]), 2, IDS),
    "expand_dims": (lambda e, x: e.call(cvm.expand_dims.default, x, axis=0, num_newaxis=2), 2, IDS),
    "transpose": (lambda e, x: e.call(cvm.transpose.default, x, axes=[1, 0, -1]), 2, IDS),
    "repeat": (lambda e, x: e.call(cvm.repeat.default, x, repeats=2, axis=1), 2, IDS),
    "tile": (lambda e, x: e.call(cvm.tile.default, x, reps=[3, 1]), 2, IDS),
    "slice": (lambda e, x: e.call(cvm.strided_slice.default, x, begin=[0, 0, 5], end=[1, 4, -7], stride=[1, 2, -1]), 3,
              IDS),
    "slice_like": (lambda e, x: e.call(cvm.slice_like.default, x, e.constant("like", integers((1, 2, 4))), axis=[]), 2,
                   IDS),
    "rows joined": (lambda e, x: e.call(cvm.concatenate.default, [x, x], axis=1), 2, IDS),
    "columns joined": (lambda e, x: e.call(cvm.concatenate.default, [x, x], axis=-1), 8, IDS),
    "negative": (lambda e, x: e.call(cvm.negative.default, x), 2, Interval(-9, -3)),
    "shifted": (lambda e, x: e.call(cvm.cvm_right_shift.default, x, precision=8, shift_bit=1), 2, Interval(2, 5)),
    "one number added": (lambda e, x: add(e, x, [100]), 2, Interval(103, 109)),
    "a row added": (lambda e, x: add(e, x, [[[0, 0, 1, 9, 9, 9]]]), 2, Interval(4, 10)),
    "a column added": (lambda e, x: add(e, x, [[[1], [2], [3], [-4]]]), 2, Interval(-1, 12)),
    # These mix columns, so that nothing but the range of all is known.
    "reversed": (lambda e, x: e.call(cvm.transpose.default, x, axes=[]), 0, None),
    "columns exchanged": (lambda e, x: e.call(cvm.transpose.default, x, axes=[0, 2, 1]), 2, None),
    "columns repeated": (lambda e, x: e.call(cvm.repeat.default, x, repeats=2, axis=2), 2, None),
    "columns tiled": (lambda e, x: e.call(cvm.tile.default, x, reps=[2]), 2, None),
    "flattened": (lambda e, x: e.call(cvm.flatten.default, x), 2, None),
    "reduced": (lambda e, x: e.call(cvm.max.default, x, axis=[1], keepdims=False, exclude=False), 2, None),
}


@pytest.mark.parametrize("name", CASES)
def test_columns_are_followed(name):
    """Oracle: by hand, and the values of runs."""
    build, column, expected = CASES[name]
    module = integer_graph(lambda editor, data: [build(editor, marked(editor, data))], (1, 4, 5))
    head = module.graph.output_node().args[0][0]
    known = column_range(head, column)
    assert known == (expected or facts_of(head).value_range)
    for seed in range(5):
        assert known.contains(Interval.of_tensor(module(integers((1, 4, 5), seed=seed))[0][..., column]))


def test_every_column_of_random_chains():
    """Steps of all kinds on each other. Oracle: the values of runs."""
    steps = [build for build, _, _ in CASES.values()]
    for seed in range(60):
        random = Random(seed)

        def build(editor, data, random=random):
            x = marked(editor, data)
            for _ in range(random.randint(1, 6)):
                known = list(editor.graph.nodes)
                try:
                    after = random.choice(steps)(editor, x)
                    x = after if after.meta["val"].numel() < 2000 and after.meta["val"].dim() <= 6 else x
                except InvalidGraphError:  # the step does not fit the shape: another one
                    for node in [node for node in reversed(editor.graph.nodes) if node not in known]:
                        editor.graph.erase_node(node)
            return [editor.call(cvm.cvm_clip.default, x, precision=20)]

        module = integer_graph(build, (1, 4, 5))
        head = module.graph.output_node().args[0][0]
        (values,) = module(integers((1, 4, 5), seed=seed))
        for column in range(values.shape[-1]):
            assert column_range(head, column).contains(Interval.of_tensor(values[..., column]))


def test_long_chains_end():
    """Doubling 200 times: each step reads its operand twice."""
    def build(editor, data):
        x = editor.call(cvm.relu.default, data)
        for _ in range(200):
            x = editor.call(cvm.cvm_clip.default, editor.call(cvm.elemwise_add.default, x, x), precision=8)
        return [x]
    module = integer_graph(build, (1, 4, 6))
    assert column_range(module.graph.output_node().args[0][0], 0) == Interval(0, 127)


def test_outputs_of_one_node():
    module = detection_graph()
    counts, rows, _ = module.graph.output_node().args[0]
    target = cvm.get_valid_counts.default
    assert common_producer(rows, 1, counts, 0, target) is rows.args[0]
    assert common_producer(counts, 1, rows, 0, target) is None
    assert common_producer(rows, 1, rows.args[0].args[0], 0, target) is None
    again = fx.Graph.call_function(module.graph, operator.getitem, rows.args)
    assert readers(rows) == readers(again) == set(rows.users)
