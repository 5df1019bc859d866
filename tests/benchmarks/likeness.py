"""How near the logits of a quantized network are to those of the float one, and what its integers cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.facts import facts_of

aten, cvm = torch.ops.aten, torch.ops.cvm
PRODUCTS = (aten.conv2d.default, aten.linear.default, cvm.conv2d.default, cvm.dense.default)


@dataclass(frozen=True)
class Likeness:
    """Logits of a quantized network beside those of the float one, over all pictures.

    Attributes:
        top1: right answers, percent.
        change: the same less the float network's, and its paired standard error, percent points.
        agreement: same answer as the float network, percent.
        noise: 10 log10(sum f^2 / sum (f - q)^2) over all logits, decibels.
        cosine: mean over the pictures.
    """

    top1: float
    change: float
    change_error: float
    agreement: float
    noise: float
    cosine: float


def likeness(exact: torch.Tensor, approximate: torch.Tensor, labels: torch.Tensor) -> Likeness:
    """Of logits (N, classes) float64 and labels (N,)."""
    right, answer = exact.argmax(1), approximate.argmax(1)
    gains = (answer == labels).double() - (right == labels).double()
    noise = 10 * torch.log10((exact ** 2).sum() / ((exact - approximate) ** 2).sum())
    cosine = ((exact * approximate).sum(1) / (exact.norm(dim=1) * approximate.norm(dim=1))).mean()
    return Likeness(_percent(answer == labels), 100 * float(gains.mean()),
                    100 * float(gains.std()) / math.sqrt(len(gains)), _percent(right == answer), float(noise),
                    float(cosine))


def _percent(hits: torch.Tensor) -> float:
    return 100 * float(hits.double().mean())


def multiply_accumulates(module: fx.GraphModule) -> int:
    """Of the convolutions and dense layers, for one picture."""
    return sum(math.prod(shape_of(node)[1:]) * math.prod(shape_of(node.args[1])[1:])
               for node in module.graph.nodes if node.target in PRODUCTS)


def operand_bits(module: fx.GraphModule) -> int:
    """Widest operand, picture or weight, of a convolution or dense layer of an integer graph."""
    return max(facts_of(operand).precision for node in module.graph.nodes if node.target in PRODUCTS
               for operand in node.args[:2])
