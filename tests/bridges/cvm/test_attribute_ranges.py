"""Attributes in and out of their ranges: models are read exactly if the runtime takes them."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest

from bridges.cvm.load import graph_of
from bridges.cvm.symbol_file import CvmSymbol, format_symbol
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import InvalidArgumentError, MRTError
from tests.bridges.cvm.differential import is_loaded
from tests.bridges.cvm.random_models import DEPLOYED, RandomModel, model_of_call
from tests.mrt_torch.cvm.sampler import SampledCall
from tests.mrt_torch.cvm.sampling import sample_call

EDGES = [-2 ** 31, -4097, -7, -2, -1, 0, 1, 2, 3, 5, 31, 32, 33, 4095, 4096, 4097, 2 ** 31 - 2, 2 ** 31 - 1]
MOST_ELEMENTS = 2 ** 22
CHANGES = 15


def changed(value, random):
    """Another value of the same kind: beside the old one, at an edge of a range, of another length."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        items, position = list(value), random.randrange(len(value) or 1)
        kind = random.choice(("item", "item", "shorter", "longer")) if items else "longer"
        items[position:position + (kind != "longer")] = [] if kind == "shorter" else [random.choice(EDGES)]
        return items
    return random.choice(EDGES if value is None else [*EDGES, value - 1, value + 1])


def with_attribute(model: RandomModel, sampled: SampledCall, name: str, value) -> CvmSymbol:
    """The model with an attribute changed, and the output shape that follows; the old one where none does."""
    row, last, shapes = OPERATORS[sampled.operator], model.symbol.nodes[-1], list(model.symbol.shapes)
    try:
        attributes = {**sampled.attributes, name: value}
        shapes[-row.outputs:] = row.output_shapes([operand.shape for operand in sampled.operands], attributes)
    except InvalidArgumentError:
        pass
    text = str(tuple(value)) if isinstance(value, list) else str(value)
    node = replace(last, attributes={**last.attributes, name: text})
    return replace(model.symbol, nodes=(*model.symbol.nodes[:-1], node), shapes=tuple(shapes),
                   storage_ids=tuple(range(len(shapes))))


def is_read(symbol: CvmSymbol, model: RandomModel) -> bool:
    try:
        graph_of(parse_symbol(format_symbol(symbol)), model.parameters)
    except MRTError:
        return False
    return True


def models(name):
    for seed in range(CHANGES):
        random = Random(f"{name} attribute {seed}")
        sampled = sample_call(name, random)
        model = model_of_call(sampled, random)
        attribute = random.choice(sorted(sampled.attributes))
        symbol = with_attribute(model, sampled, attribute, changed(sampled.attributes[attribute], random))
        if all(math.prod(shape) <= MOST_ELEMENTS for shape in symbol.shapes):
            yield symbol, model


with_attributes = pytest.mark.parametrize("name", [n for n in DEPLOYED if OPERATORS[n].attribute_names])


@with_attributes
def test_nothing_but_the_two_documented_errors(name):
    """Oracle: the documentation of ``graph_of``."""
    assert {is_read(symbol, model) for symbol, model in models(name)} <= {True, False}


@pytest.mark.cvm_runtime
@with_attributes
def test_what_the_runtime_takes_is_read(runtime, name):
    """Oracle: the runtime loads the model, or refuses it."""
    for symbol, model in models(name):
        taken = is_loaded(runtime, symbol, model, {})
        assert is_read(symbol, model) == taken, (symbol.nodes[-1].attributes, symbol.shapes)
