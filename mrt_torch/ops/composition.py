"""A function of one variable made of several operators: one float operator, one table.

``torch.ops.mrt.composition(x, steps)`` runs the steps one after another. A step is a text: an ATen operator and its
arguments, each ``%0`` for x, ``%k`` for the result of step k, or JSON; keyword arguments as ``name=JSON``:

    ["aten.sigmoid.default %0", "aten.mul.Tensor %0 %1"]        x * sigmoid(x)
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.float_operators import define_float_operator
from mrt_torch.ops.registry import TRANSFORMERS, register_transformer
from mrt_torch.ops.table import Activation
from mrt_torch.quantization.context import QuantizationContext

aten = torch.ops.aten

# Exact in integers, or nearly: they are worth a table only together with others.
ARITHMETIC = frozenset({
    aten.relu.default, aten.leaky_relu.default, aten.clamp.default, aten.neg.default, aten.abs.default,
    aten.add.Scalar, aten.sub.Scalar, aten.rsub.Scalar, aten.mul.Scalar, aten.div.Scalar,
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.maximum.default, aten.minimum.default})


@dataclass(frozen=True)
class Step:
    """One operator of a composition; a tensor argument is the position of a value, 0 for x."""

    target: Callable
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        words = [str(self.target)]
        words += [f"%{argument.position}" if isinstance(argument, Value) else json.dumps(argument)
                  for argument in self.arguments]
        return " ".join(words + [f"{name}={json.dumps(argument)}" for name, argument in self.keywords])

    def run(self, values: Sequence[Any], call: Callable[..., Any]) -> Any:
        """``call(target, ...)`` with the values in place of their positions."""
        arguments = [values[a.position] if isinstance(a, Value) else a for a in self.arguments]
        return call(self.target, *arguments, **dict(self.keywords))


@dataclass(frozen=True)
class Value:
    """Position of a tensor argument: 0 for x, k for the result of step k."""

    position: int


def is_table_function(target: object) -> bool:
    """Whether an operator is a function of one variable that is quantized by table."""
    return target in TRANSFORMERS and isinstance(TRANSFORMERS[target], Activation)


def read_steps(texts: Sequence[str]) -> tuple[Step, ...]:
    """The steps that texts describe.

    Raises:
        ValueError: a text is none of a step, or names an operator that no composition holds.
    """
    return _read_steps(tuple(texts))


@functools.lru_cache(maxsize=256)
def _read_steps(texts: tuple[str, ...]) -> tuple[Step, ...]:
    known = {str(target): target for target in ARITHMETIC}
    known |= {str(target): target for target, _ in TRANSFORMERS if is_table_function(target)}
    if not texts:
        raise ValueError("a composition has a step at least")
    steps = []
    for position, text in enumerate(texts):
        name, *words = text.split(" ")
        if name not in known or known[name] is COMPOSITION:
            raise ValueError(f"{name!r} is no step of a composition")
        arguments, keywords = [], []
        for word in words:
            keyword, equals, value = word.partition("=")
            if equals:
                keywords.append((keyword, _number(value)))
            else:
                arguments.append(_argument(word, position))
        steps.append(Step(known[name], tuple(arguments), tuple(keywords)))
    return tuple(steps)


def _argument(word: str, position: int) -> Any:
    if not word.startswith("%"):
        return _number(word)
    if not word[1:].isdecimal() or int(word[1:]) > position:
        raise ValueError(f"{word!r} is no value before step {position + 1}")
    return Value(int(word[1:]))


def _number(text: str) -> Any:
    value = json.loads(text)
    if isinstance(value, (list, dict)) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{text!r} is no argument of a step")
    return value


def _compose(x: torch.Tensor, steps: Sequence[str]) -> torch.Tensor:
    values = [x]
    for step in read_steps(steps):
        values.append(step.run(values, lambda target, *args, **kwargs: target(*args, **kwargs)))
    return values[-1]


COMPOSITION = define_float_operator("composition", "(Tensor x, str[] steps) -> Tensor", _compose)


def expand_compositions(module: fx.GraphModule) -> int:
    """Replace every composition by the operators it is made of; returns how many there were."""
    editor = GraphEditor(module)
    compositions = module.graph.find_nodes(op="call_function", target=COMPOSITION)
    for node in compositions:
        with editor.before(node):
            values = [node.args[0]]
            for step in read_steps(node.args[1]):
                values.append(step.run(values, editor.call))
        editor.replace(node, values[-1])
    return len(compositions)


@register_transformer(COMPOSITION)
class Composition(Activation):
    """Operators on one tensor, as ``fuse_functions`` gathers them: swish, hard-swish, gelu written out, and so on."""

    op_name = "composition"

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        return None

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """The output elements, for each step."""
        return super().calculate_ops(op) * len(op.args[1])

    def index_bits(self, op: fx.Node, context: QuantizationContext) -> int | None:
        """The most bits that the user set for the composition, or for one of its functions."""
        names = [TRANSFORMERS[step.target].op_name for step in read_steps(op.args[1]) if is_table_function(step.target)]
        chosen = [context.settings.chosen_precision(name) for name in (self.op_name, *names)]
        return max((bits for bits in chosen if bits is not None), default=None)
