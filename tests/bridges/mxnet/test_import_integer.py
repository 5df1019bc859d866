"""Reading exported integer symbols: what is refused. What is read back is tested beside the export."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from bridges.mxnet.export_integer import build_symbol
from bridges.mxnet.import_integer import import_integer
from bridges.mxnet.symbol import Symbol, SymbolNode
from mrt_torch.errors import InvalidFileError, InvalidGraphError, PrecisionError, UnsupportedOperatorError
from tests.bridges.cvm.graphs import convolution_graph, integers
from tests.bridges.cvm.operator_cases import CASES, OperatorCase


def exported(operator):
    return build_symbol(next(case for case in CASES if case.operator == operator).graph())


# CVM operators that are exported as MXNet operators of other names.
SAMPLES = {"Convolution": "conv2d", "FullyConnected": "dense", "Pooling": "max_pool2d",
           "UpSampling": "upsampling", "slice": "strided_slice", "Concat": "concatenate",
           "Custom": "cvm_clip", "null": "relu"}


def changed(symbol, operator, **changes):
    """The symbol with attributes of all nodes of an operator replaced, or removed where None."""
    def edit(node):
        if node.operator != operator:
            return node
        attributes = {**node.attributes, **changes}
        return replace(node, attributes={key: text for key, text in attributes.items() if text is not None})
    return Symbol(tuple(edit(node) for node in symbol.nodes), symbol.heads)


@pytest.mark.parametrize("operator, changes", [
    ("Convolution", {"layout": "NHWC"}),
    ("Convolution", {"kernel": "(5, 5)"}),
    ("Convolution", {"num_filter": "9"}),
    ("Convolution", {"no_bias": "False"}),
    ("Convolution", {"stride": "(1,)"}),
    ("Convolution", {"pad": None}),
    ("Convolution", {"cudnn_tune": "off"}),
    ("FullyConnected", {"flatten": "True"}),
    ("FullyConnected", {"num_hidden": "1"}),
    ("Pooling", {"pool_type": "avg"}),
    ("Pooling", {"pooling_convention": "same"}),
    ("UpSampling", {"sample_type": "bilinear"}),
    ("clip", {"a_min": "0.5"}),
    ("Custom", {"op_type": "other"}),
    ("Custom", {"precision": None}),
    ("Custom", {"precision": "eight"}),
    ("Custom", {"in_dim": "3"}),
    ("relu", {"act": "1"}),
    ("slice", {"step": "(1, 0, 1)"}),
    ("slice", {"begin": "(0,)"}),
    ("Concat", {"num_args": "7"}),
    ("take", {"mode": "wrap"}),
    ("sum", {"exclude": "True"}),
    ("sum", {"axis": None}),
    ("null", {"__precision__": None}),
    ("null", {"__precision__": "33"}),
    ("null", {"__shape__": "(0, 3)"}),
    ("null", {"__shape__": None}),
    ("null", {"__value_range__": "(3, 2)"}),
    ("null", {"__scale__": "nan"}),
    ("null", {"__batch_axis__": "7"}),
    ("null", {"__output_scales__": "(1.0, 2.0)"}),
    ("null", {"__output_scales__": "(1.0, (2.0))"}),
])
def test_attributes_no_export_writes(operator, changes):
    """Every one is refused, naming the node. Oracle: the unchanged symbol is read."""
    symbol, params = exported(SAMPLES.get(operator, operator))
    import_integer(symbol, params)
    with pytest.raises(InvalidFileError):
        import_integer(changed(symbol, operator, **changes), params)


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 2.0 ** 31, -2.0 ** 31 - 1])
def test_parameters_that_are_no_int32(value):
    symbol, params = exported("broadcast_max")
    params["arg:c0"][1] = value
    with pytest.raises(InvalidFileError, match="c0"):
        import_integer(symbol, params)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.int8])
def test_parameters_of_other_types(dtype):
    """Any type that holds the integers will do. Oracle: the graph that was exported."""
    graph = next(case for case in CASES if case.operator == "dense").graph()
    symbol, params = build_symbol(graph)
    back = import_integer(symbol,
                          {name.removeprefix("arg:"): array.astype(dtype) for name, array in params.items()})
    data = integers((3, 7))
    assert torch.equal(back(data)[0], graph(data)[0])


def test_operators_of_float_models_are_listed():
    """All of them, once each."""
    symbol, params = exported("relu")
    nodes = (*symbol.nodes, SymbolNode("Activation", "a", {"act_type": "relu"}, ((1, 0),)),
             SymbolNode("BatchNorm", "b", {}, ((2, 0),)), SymbolNode("BatchNorm", "c", {}, ((3, 0),)))
    with pytest.raises(UnsupportedOperatorError,
                       match=re.escape("Activation: 1 node, first 'a'\n    BatchNorm: 2 nodes, first 'b'")):
        import_integer(Symbol(nodes, ((4, 0),)), params)


@pytest.mark.parametrize("operator", ["broadcast_div", "cvm_precision"])
def test_parts_of_a_composition_alone(operator):
    """A quotient that is not truncated, or a comparison, is no CVM operator."""
    symbol, params = exported(operator)
    part = next(index for index, node in enumerate(symbol.nodes) if node.operator.startswith("broadcast_") and
                node.operator != "broadcast_mul")
    with pytest.raises(UnsupportedOperatorError, match=symbol.nodes[part].operator):
        import_integer(Symbol(symbol.nodes, ((part, 0),)), params)


@pytest.mark.parametrize("operator, source, attribute",
                         [("broadcast_div", "_equal_scalar", {"scalar": "1"}),
                          ("broadcast_div", "_not_equal_scalar", {"scalar": "1"}),
                          ("cvm_precision", "_maximum_scalar", {"scalar": "2"}),
                          ("cvm_precision", "sum", {"axis": "(0,)"})])
def test_near_misses_of_compositions(operator, source, attribute):
    symbol, params = exported(operator)
    import_integer(symbol, params)
    with pytest.raises((UnsupportedOperatorError, InvalidFileError)):
        import_integer(changed(symbol, source, **attribute), params)


def test_other_powers_are_no_bit_length():
    symbol, params = exported("cvm_precision")
    params = {name: array + 1 for name, array in params.items()}
    with pytest.raises(UnsupportedOperatorError):
        import_integer(symbol, params)


def test_second_outputs_are_refused():
    """Of all operators get_valid_counts alone has two."""
    for operator, output in (("relu", 1), ("get_valid_counts", 2)):
        symbol, params = exported(operator)
        with pytest.raises(InvalidFileError, match="another output"):
            import_integer(Symbol(symbol.nodes, ((1, output),)), params)


def test_shapes_that_contradict():
    """The graph's own shape rules find them."""
    symbol, params = build_symbol(convolution_graph())
    with pytest.raises(InvalidGraphError):
        import_integer(changed(symbol, "null", __shape__="(1, 5, 8, 8)"), params)


def test_precision_is_checked():
    """A product of 16 + 17 bits does not fit what the runtime can hold."""
    graph = OperatorCase("where", (2, 3), (integers((2, 3)), integers((2, 3))), {}, 8).graph()
    symbol, params = build_symbol(graph)
    with pytest.raises(PrecisionError):
        import_integer(changed(symbol, "null", __precision__="2"), params)
