"""Products of computed matrices and attention. Oracle: the torch module at batches 1, 2 and 5."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mrt_torch.graph.finite import check_finite
from mrt_torch.passes.prepare import prepare
from tests.mrt_torch.graph.captured import BATCHES, Function, assert_equal, check, inputs, operators

LENGTH, DEPTH, HEADS = 5, 8, 2
CAUSAL = torch.triu(torch.full((LENGTH, LENGTH), -math.inf), 1)
BIAS = torch.randn(LENGTH, LENGTH, generator=torch.Generator().manual_seed(0))


def heads(x, count=HEADS):
    """(N, T, C) as (N, heads, T, C / heads)."""
    return x.reshape(x.shape[0], LENGTH, count, -1).transpose(1, 2)


PRODUCTS = {
    "matmul": lambda m, x: x @ x.transpose(1, 2),
    "of heads": lambda m, x: heads(x) @ heads(x).transpose(2, 3),
    "with what has no heads": lambda m, x: heads(x) @ x[:, None, :4, :3],
    "bmm": lambda m, x: torch.bmm(x, x.transpose(1, 2)),
    "baddbmm": lambda m, x: torch.baddbmm(m.w[:1, :5, :5], x, x.transpose(1, 2), beta=0.5, alpha=2),
    "vector": lambda m, x: (x @ x[:, 0, :, None]).squeeze(-1),
    "constant of heads": lambda m, x: heads(x) @ m.w[:, :4],
    "constant of heads on the left": lambda m, x: m.w[:, :, :5] @ heads(x),
    "einsum": lambda m, x: torch.einsum("bik,bjk->bij", x, x),
    "einsum of heads": lambda m, x: torch.einsum("bihc,bjhc->bhij", *[x.reshape(-1, LENGTH, HEADS, 4)] * 2),
    "einsum with an ellipsis": lambda m, x: torch.einsum("...ik,...jk->...ij", x, x),
    "einsum with a constant": lambda m, x: torch.einsum("bik,hkj->bhij", x, m.w),
    "einsum summing an own axis": lambda m, x: torch.einsum("bik,bjl->bij", x, x),
    "einsum outer": lambda m, x: torch.einsum("bi,bj->bij", x[:, 0], x[:, 1]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_product(name):
    """One product, before and after prepare."""
    module = Function(PRODUCTS[name], w=torch.randn(2, DEPTH, DEPTH, generator=torch.Generator().manual_seed(1)))
    graph = check(module, (LENGTH, DEPTH))
    assert sum(target in ("bmm.default", "linear.default") for target in operators(graph)) == 1
    prepared = prepare(graph)
    for batch in BATCHES:
        assert_equal(prepared, module, inputs([(LENGTH, DEPTH)], batch))


EQUATIONS = {
    "one, transposed": ("bik->bki", 0), "one, summed": ("bik->kb", 0), "one with an ellipsis": ("b...k->b...", 0),
    "three": ("bik,bjk,blk->bijl", 3), "three with weights": ("bik,bjk,bil->bjl", 2),
    "four": ("bik,bjk,bjl,bml->bim", 3),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_einsum_of_other_numbers_of_operands(name):
    """Products from left to right (at most their number), or none; before and after prepare."""
    equation, most = EQUATIONS[name]
    module = Function(lambda m, x: torch.einsum(equation, *[x] * (equation.count(",") + 1)))
    graph = check(module, (LENGTH, DEPTH))
    assert "einsum.default" not in operators(graph) and operators(graph).count("bmm.default") <= most
    assert_equal(prepare(graph), module, inputs([(LENGTH, DEPTH)], 5))


NEAR_MISSES = {"diagonal": "bii,bjk->bj", "diagonal of one": "bii->bi"}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_einsum_without_canonical_form(name):
    """What torch does not decompose by itself stays, and computes the same."""
    equation = NEAR_MISSES[name]
    count = equation.count(",") + 1
    check(Function(lambda m, x: torch.einsum(equation, *[x] * count)), (LENGTH, LENGTH))


def attention(mask=None, **options):
    def run(m, x):
        split = heads(x)
        return F.scaled_dot_product_attention(split, split, split, attn_mask=getattr(m, "mask", None), **options)
    return Function(run, **({} if mask is None else {"mask": mask}))


SOFTMAX, MASKED = "softmax.int", "mrt.masked_softmax.default"
ATTENTION = {
    "plain": (attention(), SOFTMAX), "scaled": (attention(scale=0.3), SOFTMAX),
    "causal": (attention(is_causal=True), MASKED), "truth values": (attention(BIAS > -0.2), MASKED),
    "additive": (attention(BIAS), SOFTMAX), "infinite": (attention(CAUSAL), MASKED),
    "infinite and additive": (attention(CAUSAL + BIAS), MASKED),
    "of a key alone": (attention(torch.tensor([[True, False, True, True, False]])), MASKED),
    "without heads": (Function(lambda m, x: F.scaled_dot_product_attention(x, x, x)), SOFTMAX),
    "shared keys": (Function(lambda m, x: F.scaled_dot_product_attention(
        heads(x, 4), heads(x)[..., :2], heads(x)[..., :2], enable_gqa=True, is_causal=True)), MASKED),
    "masked_fill": (Function(lambda m, x: torch.softmax((x @ x.transpose(1, 2)).masked_fill(m.mask, -1e9), -1) @ x,
                             mask=CAUSAL < 0), MASKED),
    "added": (Function(lambda m, x: torch.softmax(x @ x.transpose(1, 2) + m.mask, -1) @ x,
                       mask=CAUSAL.clamp(min=-1e4)), MASKED),
    "where": (Function(lambda m, x: torch.softmax(torch.where(m.mask, x @ x.transpose(1, 2), -1e9), -1) @ x,
                       mask=CAUSAL == 0), MASKED),
    "a mask that is no exclusion": (Function(lambda m, x: torch.softmax(x @ x.transpose(1, 2) + m.mask, -1) @ x,
                                             mask=CAUSAL.clamp(min=-10)), SOFTMAX),
    "computed truth values": (Function(lambda m, x: F.scaled_dot_product_attention(
        x, x, x, attn_mask=(x[:, :, 0] > -9)[:, None, :])), MASKED),
    "computed and inverted": (Function(lambda m, x: torch.softmax((x @ x.transpose(1, 2)).masked_fill(
        (x[:, :, 0] > 9)[:, None, :], -math.inf), -1) @ x), MASKED),
    "one minus a mask, times a huge number": (Function(lambda m, x: torch.softmax(x @ x.transpose(1, 2) + (
        1.0 - (x[:, :, 0] > -9).float()[:, None, :]) * -10000.0, -1) @ x), MASKED),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name):
    """Masks that exclude become a masked softmax: no infinity is left for prepare to refuse."""
    module, softmax = ATTENTION[name]
    graph = check(module, (LENGTH, DEPTH))
    assert softmax in operators(graph)
    check_finite(graph)
    prepared = prepare(graph)
    for batch in BATCHES:
        assert_equal(prepared, module, inputs([(LENGTH, DEPTH)], batch))


class MultiHead(nn.Module):
    """Self-attention of torch, with its weights or without, and a mask."""

    def __init__(self, need_weights, mask=None, padding=False, batch_first=True):
        super().__init__()
        self.layer = nn.MultiheadAttention(DEPTH, HEADS, batch_first=batch_first)
        self.need_weights, self.padding = need_weights, padding
        self.register_buffer("mask", mask)

    def forward(self, x):
        padding = x[:, :, 0] > 9 if self.padding else None
        return self.layer(x, x, x, need_weights=self.need_weights, attn_mask=self.mask, key_padding_mask=padding)[0]


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("mask", [None, CAUSAL], ids=["open", "causal"])
@pytest.mark.parametrize("padding", [False, True])
def test_multi_head_attention(need_weights, mask, padding):
    torch.manual_seed(0)
    module = MultiHead(need_weights, mask, padding).eval()
    graph = check(module, (LENGTH, DEPTH))
    assert (MASKED in operators(graph)) == (padding or mask is not None)
    prepared = prepare(graph)
    for batch in BATCHES:
        assert_equal(prepared, module, inputs([(LENGTH, DEPTH)], batch))


def test_a_row_that_keeps_nothing():
    """It is 0, as torch's attention has it."""
    mask = BIAS > -0.2
    mask[2] = False
    module = attention(mask)
    graph = check(module, (LENGTH, DEPTH))
    result = graph(*inputs([(LENGTH, DEPTH)], 2))[0]
    assert bool((result[:, :, 2] == 0).all())
