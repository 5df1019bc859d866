"""Random models over every operator of the CVM, in every spelling: read, run, and compared with the real runtime."""

from __future__ import annotations

from random import Random

import pytest
import torch

from bridges.cvm.load import graph_of
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.cvm import gas
from mrt_torch.graph.editor import output_nodes
from mrt_torch.graph.facts import facts_of
from tests.bridges.cvm.differential import compare, compare_precisions
from tests.bridges.cvm.random_models import DEPLOYED, model_of_call, random_graph
from tests.mrt_torch.cvm.sampling import sample_call


def model_of(name, seed):
    random = Random(f"{name} {seed}")
    return model_of_call(sample_call(name, random), random), random


def test_all_37_operators_are_drawn():
    assert len(DEPLOYED) == 37


@pytest.mark.parametrize("name", DEPLOYED)
def test_models_of_others(name):
    """Oracle: the operator's definition over Python integers, whatever the words of the file."""
    for seed in range(15):
        model, random = model_of(name, seed)
        module = graph_of(parse_symbol(model.text(random)), model.parameters)
        heads = module(torch.from_numpy(model.values))
        for head, node, expected in zip(heads, output_nodes(module.graph), model.expected, strict=True):
            assert head.dtype == torch.int32 and head.tolist() == expected.tolist()
            low, high = facts_of(node).value_range.minimum, facts_of(node).value_range.maximum
            assert low <= int(head.min()) and int(head.max()) <= high


@pytest.mark.parametrize("seed", range(20))
def test_graphs_of_others(seed):
    """Oracle: the same graph from the canonical text."""
    random = Random(seed)
    model = random_graph(random, 12)
    plain, varied = (graph_of(symbol, model.parameters)
                     for symbol in (model.symbol, parse_symbol(model.text(random))))
    values = torch.from_numpy(model.values)
    assert all(torch.equal(a, b) for a, b in zip(plain(values), varied(values), strict=True))
    assert gas(plain) == gas(varied)


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("name", DEPLOYED)
def test_operator_against_the_runtime(runtime, name):
    """Oracle: the runtime, FORMAL always and CPU where no divergence is known; and the definition."""
    on_cpu = 0
    for seed in range(100, 112):
        model, random = model_of(name, seed)
        found, cpu = compare(runtime, model, model.text(random))
        found += compare_precisions(runtime, model) if seed < 103 else []
        assert not found, (seed, found)
        on_cpu += cpu
    assert on_cpu >= 2 or name == "cvm_left_shift"


@pytest.mark.cvm_runtime
@pytest.mark.parametrize("seed", range(100, 120))
def test_graph_against_the_runtime(runtime, seed):
    """Oracle: the runtime: integers on both back ends, and both figures of the gas."""
    random = Random(seed)
    model = random_graph(random, random.randint(2, 14))
    assert compare(runtime, model, model.text(random))[0] == []
