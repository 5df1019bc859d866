"""Gas against the formula of cvm-format 4.6, counted by hand."""

from __future__ import annotations

import pytest

from mrt_torch.cvm import analyse, gas
from mrt_torch.errors import ExportError, InvalidGraphError
from tests.mrt_torch.cvm.graphs import GraphBuilder, small_network


def test_gas_of_a_small_network():
    module = small_network()
    analyse(module)
    elements = [2 * 3 * 4 * 4, 5 * 3 * 3 * 3, 5, 7 * 5]                        # data, kernel, bias, weight
    elements += [2 * 5 * 4 * 4] * 3 + [2 * 5] * 3 + [2 * 7]
    operations = 160 * (3 * 27 + 1) + 160 + 160 + 10 * 16 + 10 + 10 + 14 * 3 * 5
    assert gas(module) == 5 * sum(elements) + operations


def test_gas_of_a_pooling():
    build = GraphBuilder()
    pooled = build.call("max_pool2d", build.input((1, 2, 4, 4)), pool_size=[2, 3], strides=[1, 1],
                        padding=[0, 0], ceil_mode=False)
    module = build.finish(pooled)
    analyse(module)
    assert gas(module) == 5 * (32 + 12) + 12 * 6


def test_a_constant_that_is_read_twice_counts_once():
    build = GraphBuilder()
    first = build.constant([1, 2, 3])
    module = build.finish(build.call("elemwise_add", first, build.graph.get_attr("weight")))
    analyse(module)
    assert gas(module) == 5 * (3 + 3) + 3


@pytest.mark.parametrize(("heads", "legal"), [(127, True), (260, False)])
def test_gas_is_limited(heads, legal):
    """Memory counts up to 2**40: about 205 tensors of 2**30 elements."""
    build = GraphBuilder()
    node = build.input((2 ** 15, 2 ** 15))
    for _ in range(heads):
        node = build.call("relu", node)
    module = build.finish(node)
    analyse(module)
    if legal:
        assert gas(module) == 5 * 2 ** 30 * (heads + 1) + 2 ** 30 * heads
    else:
        with pytest.raises(ExportError, match="more gas"):
            gas(module)


def test_gas_needs_shapes():
    build = GraphBuilder()
    data = build.input((2,))
    del data.meta["val"]
    with pytest.raises(InvalidGraphError, match="no shape"):
        gas(build.finish(data))
