"""In-place operators and aliases. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.capture import capture
from tests.mrt_torch.graph.captured import Function, check, inputs, operators


def value_read_later(m, x):
    y = x * 2
    z = F.relu_(y)
    return y + z


def written_without_using_the_result(m, x):
    y = x * 2
    y.add_(1)
    y.mul_(3)
    return y, x


def written_after_a_view_was_taken(m, x):
    y = x * 2
    view = y[:, 1:3]
    y.add_(1)
    return view.abs() + y[:, 1:3]


def read_before_and_after(m, x):
    y = x * 2
    before = y.neg()
    y.clamp_(-1, 1)
    return before, y.neg()


def written_through_a_slice(m, x):
    y = x * 2
    y[:, 1:3] += 5
    return y


def written_through_an_index(m, x):
    y = x * 2
    y[:, 0] *= 3
    return y, y[:, 0]


def written_through_views_of_views(m, x):
    y = x * 2
    view = y.permute(0, 2, 1).reshape(x.shape[0], 5, 2, 2)[:, 1:]
    y[:, :2].relu_()
    part = y.view(x.shape[0], 2, 2, 5).transpose(1, 2).unsqueeze(1).squeeze(1)
    part[:, :, 0].add_(10)
    return y, part, view


def copy_of_a_view_keeps_the_old_values(m, x):
    y = x * 2
    kept, shown = y.permute(0, 2, 1).reshape(x.shape[0], 20), y.view(x.shape[0], 20)
    y.add_(1)
    return kept, shown


def assigned(m, x):
    y = x * 2
    y[:, 1:3] = x[:, :2]
    y[:, 3] = x[:, 0]
    return y


def assigned_whole(m, x):
    y = x * 2
    view = y.flatten(1)
    y.copy_(x)
    return y + 1, view


def chunks(m, x):
    y = x * 2
    first, second = y.chunk(2, 1)
    first.add_(1)
    second.relu_()
    return y, first, second


def parts_by_unbind(m, x):
    y = x * 2
    parts = y.unbind(1)
    parts[1].add_(1)
    return y


def dropout_is_its_input(m, x):
    y = x * 2
    z = F.dropout(y, 0.5, m.training)
    z.add_(1)
    return y


def clone_is_not(m, x):
    y = x * 2
    z = y.clone()
    z.add_(1)
    return y, z


def contiguous_may_be(m, x):
    y = x * 2
    same, copied = y.contiguous(), y.transpose(1, 2).contiguous()
    same.add_(1)
    copied.add_(1)
    return y


def shape_in_place_without_using_the_result(m, x):
    y = x * 2
    y.unsqueeze_(1)
    y.add_(1)
    return y.sum(1)


def input_is_written(m, x):
    x.add_(1)
    return x * 2


def number_types(m, x):
    y = x.to(torch.float32) * 2
    y.add_(torch.arange(5, dtype=torch.float64))
    return y


def without_gradient(m, x):
    y = x * 2
    with torch.no_grad():
        y.relu_()
    with torch.enable_grad():
        z = y + 1
        z.mul_(2)
    return y, z


def lists(m, x):
    return [F.leaky_relu_(F.hardswish(x, inplace=True), 0.2), {"a": x.relu_()}]


FUNCTIONS = (value_read_later, written_without_using_the_result, written_after_a_view_was_taken, read_before_and_after,
             written_through_a_slice, written_through_an_index, written_through_views_of_views,
             copy_of_a_view_keeps_the_old_values, assigned, assigned_whole, chunks, parts_by_unbind,
             dropout_is_its_input, clone_is_not, contiguous_may_be, shape_in_place_without_using_the_result,
             input_is_written, number_types, without_gradient, lists)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_aliases(function):
    """The graph has no in-place operator and gives the module's values."""
    graph = check(Function(function), (4, 5))
    assert not any(name.split(".")[0].endswith("_") for name in operators(graph))


def strided(m, x):
    y = x * 2
    y[:, ::2] += 1
    return y


def one_sample(m, x):
    y = x * 2
    y[0] += 1
    return y


def expanded(m, x):
    y = x[:, :1] * 2
    y.expand(-1, 4, -1)[:, :1].add_(1)
    return y


def without_twin(m, x):
    y = x * 2
    y.resize_(x.shape)
    return y


@pytest.mark.parametrize("function", [strided, one_sample, expanded], ids=lambda function: function.__name__)
def test_refused(function):
    """What cannot be put back is refused, with the user's line (oracle: this file)."""
    with pytest.raises(UnsupportedOperatorError, match="overwritten in place") as caught:
        capture(Function(function), torch.randn(2, 4, 5))
    assert "in forward: return self.function(self, x)" in caught.value.where


class Counter(nn.Module):
    """Counts its calls."""

    def __init__(self, reads: bool):
        super().__init__()
        self.reads = reads
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * self.calls if self.reads else x * 2


def test_counter_that_nothing_reads():
    """It is not in the graph, and is not counted by the capture."""
    module = Counter(reads=False)
    graph = capture(module, torch.randn(2, 3))
    assert dict(graph.named_buffers()) == {} and module.calls == 0
    x = torch.randn(5, 3)
    assert torch.equal(graph(x)[0], x * 2)


def test_result_that_depends_on_a_counter():
    with pytest.raises(UnsupportedOperatorError, match="'calls'"):
        capture(Counter(reads=True), torch.randn(2, 3))


def test_shared_in_place_layer():
    """One ReLU(inplace=True) module used everywhere, as torchvision's blocks do."""
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))

    def forward(m, x):
        y = m.relu(m.block(x))
        z = m.block(y)
        z += y
        return m.relu(z)

    graph = check(Function(forward, block=block, relu=nn.ReLU(inplace=True)), (3, 6, 6))
    assert operators(graph).count("relu.default") == 2


def test_input_of_the_caller_is_not_written():
    """The graph is functional: what it is given stays as it was."""
    graph = capture(Function(input_is_written), torch.randn(2, 4, 5))
    x, = inputs([(4, 5)], 3)
    before = x.clone()
    graph(x)
    assert torch.equal(x, before)


VIEWS = {
    "transpose": lambda m, t: t.transpose(1, -1),
    "slice": lambda m, t: t[:, 1:],
    "last": lambda m, t: t[..., :-1],
    "index": lambda m, t: t[:, 0],
    "flatten": lambda m, t: t.flatten(1),
    "reshape": lambda m, t: t.reshape(t.shape[0], -1, 1),
    "unsqueeze": lambda m, t: t.unsqueeze(1),
    "squeeze": lambda m, t: t.squeeze(1),
    "chunk": lambda m, t: t.chunk(2, 1)[-1],
    "split": lambda m, t: t.split(1, -1)[0],
    "whole": lambda m, t: t[:],
    "contiguous": lambda m, t: t.contiguous(),
    "clone": lambda m, t: t.clone(),
    "dropout": lambda m, t: F.dropout(t, 0.5, m.training),
    "new": lambda m, t: t * 0.5,
}
WRITES = {
    "add_": lambda t: t.add_(1),
    "mul_": lambda t: t.mul_(-2),
    "relu_": lambda t: t.relu_(),
    "copy_": lambda t: t.copy_(t * 3),
    "first": lambda t: t[:, :1].add_(5),
    "last": lambda t: t[..., -1].sub_(7),
}
STEPS = st.lists(st.tuples(st.sampled_from([*VIEWS, *(f"write {name}" for name in WRITES)]), st.integers(0, 9)),
                 min_size=2, max_size=9)


@given(STEPS)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_any_program_of_views_and_writes(steps):
    """Every tensor a random program makes is returned, so every alias is compared (oracle: the program itself).

    Not at batch 1, where torch itself takes some slices for contiguous that are not at any other batch.
    """
    def forward(m, x):
        tensors = [x * 2]
        for name, which in steps:
            tensor = tensors[which % len(tensors)]
            if name.startswith("write ") and tensor.dim() > 1:
                WRITES[name.removeprefix("write ")](tensor)
            elif name in VIEWS and 1 < tensor.dim() < 5 and 0 not in tensor.shape:
                tensors.append(VIEWS[name](m, tensor))
        return [tensor for tensor in tensors if tensor.numel()]

    check(Function(forward), (3, 4), batches=(2, 5))
