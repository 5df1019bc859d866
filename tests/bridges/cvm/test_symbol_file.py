"""Text of the symbol file. The golden file was written by the reference compiler, ``cvm.graph.build``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridges.cvm.lowering import lower
from bridges.cvm.symbol_file import CvmSymbol, SymbolNode, format_symbol
from tests.bridges.cvm.graphs import convolution_graph

GOLDEN = Path(__file__).with_name("golden_symbol.json")


def operator(name, func_name, inputs, **attributes):
    return SymbolNode(name, func_name, tuple((i, 0) for i in inputs), attributes)


REFERENCE = CvmSymbol(
    nodes=(SymbolNode("data"), SymbolNode("conv0_weight"),
           operator("conv2d_0", "conv2d", [0, 1], use_bias="False", kernel_size="(3, 3)", channels="4"),
           operator("cvm_right_shift_0", "cvm_right_shift", [2], shift_bit="5", precision="8"),
           operator("relu_0", "relu", [3]), operator("relu_1", "relu", [4]),
           operator("flatten_0", "flatten", [5])),
    heads=((6, 0), (3, 0)),
    shapes=((1, 3, 8, 8), (4, 3, 3, 3), (1, 4, 6, 6), (1, 4, 6, 6), (1, 4, 6, 6), (1, 4, 6, 6), (1, 144)),
    precisions=(8, 8, -1, 8, -1, -1, -1), storage_ids=(3, 4, 0, 1, 0, 2, 0))


def test_text_is_that_of_the_reference_compiler():
    """Oracle: the output of the reference compiler, byte for byte."""
    assert format_symbol(REFERENCE) == GOLDEN.read_text(encoding="ascii")


def test_lowered_graph_has_the_nodes_of_the_reference_compiler():
    """Same graph built here: names, order, inputs and shapes are equal; attributes are given in full."""
    lowered, _ = lower(convolution_graph())
    assert [(n.name, n.operator, n.inputs) for n in lowered.nodes] == [
        (n.name, n.operator, n.inputs) for n in REFERENCE.nodes]
    assert lowered.shapes == REFERENCE.shapes
    for ours, theirs in zip(lowered.nodes, REFERENCE.nodes, strict=True):
        assert theirs.attributes.items() <= ours.attributes.items()


def test_positions():
    assert REFERENCE.row_offsets == [0, 1, 2, 3, 4, 5, 6, 7]
    assert REFERENCE.variables == [0, 1]
    assert REFERENCE.head_shapes == [(1, 144), (1, 4, 6, 6)]
    assert REFERENCE.entry((6, 0)) == 6


def test_operator_with_two_outputs_shifts_entries():
    """Oracle: the format's definition of node_row_ptr."""
    symbol = replace(REFERENCE, nodes=(SymbolNode("data"), operator("counts", "get_valid_counts", [0]),
                                       operator("relu_0", "relu", [1])))
    assert symbol.row_offsets == [0, 1, 3, 4]
    assert symbol.entry((1, 1)) == 2


def test_text_that_the_runtime_cannot_read_is_our_own_mistake():
    with pytest.raises(AssertionError):
        format_symbol(replace(REFERENCE, nodes=(SymbolNode("dätä"), *REFERENCE.nodes[1:])))
