"""Reading deployed models back. Oracle: the exported graph, or the rule of the format that a file breaks."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.cvm.export import export_cvm
from bridges.cvm.heads import flatten_heads
from bridges.cvm.load import ALIASES, graph_of, load_cvm
from bridges.cvm.lowering import lower
from bridges.cvm.params_file import format_params, parse_params
from bridges.cvm.symbol_file import CvmSymbol, SymbolNode
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.cvm import OPERATORS, gas, verify
from mrt_torch.errors import InvalidFileError, UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import facts_of, source_name
from tests.bridges.cvm.graphs import convolution_graph, deployed_bytes, integers, two_headed_graph
from tests.bridges.cvm.operator_cases import CASES, NEVER_DEPLOYED
from tests.mrt_torch.cvm.detection_graphs import detection_graph

EXTENSION = {"inputs_ext": {"data": {"scale": 12.5, "target_bit": 8}}, "oscales": [3.0, 4.0],
             "input_shapes": {"data": [2, 2, 3, 4]}}


def test_every_deployable_operator_has_a_case():
    deployable = {row.name for row in OPERATORS if not row.composite} - NEVER_DEPLOYED
    assert {case.operator for case in CASES} == deployable


@pytest.mark.parametrize("case", CASES, ids=str)
def test_round_trip_of_every_operator(case):
    """Same integers, same facts, and the loaded graph exports to the same bytes."""
    graph = flatten_heads(case.graph())
    symbol, params = deployed_bytes(graph)
    loaded = graph_of(parse_symbol(symbol), parse_params(params))
    values = case.input(0)
    for ours, theirs in zip(graph(values), loaded(values), strict=True):
        assert theirs.dtype == torch.int32
        assert torch.equal(ours, theirs)
    for old, new in zip(output_nodes(graph.graph), output_nodes(loaded.graph), strict=True):
        assert facts_of(old).precision == facts_of(new).precision
        assert facts_of(old).value_range == facts_of(new).value_range
    verify(loaded)
    assert deployed_bytes(loaded) == (symbol, params)


def test_folder_with_extension(tmp_path):
    folder = export_cvm(two_headed_graph(), tmp_path / "model", extension=EXTENSION)
    loaded, extension = load_cvm(folder)
    assert extension == {**EXTENSION, "output_shapes": [[2, 2, 3, 4], [2, 2, 3]]}
    assert facts_of(input_nodes(loaded.graph)[0]).scale == 12.5
    assert facts_of(input_nodes(loaded.graph)[0]).precision == 8
    assert [facts_of(head).scale for head in output_nodes(loaded.graph)] == [3.0, 4.0]
    values = integers((2, 2, 3, 4))
    shapes = extension["output_shapes"]
    for ours, theirs, shape in zip(two_headed_graph()(values), loaded(values), shapes, strict=True):
        assert torch.equal(ours, theirs.reshape(shape))


def test_folder_without_extension(tmp_path):
    folder = export_cvm(convolution_graph(), tmp_path / "model", extension={})
    (folder / "ext").unlink()
    loaded, extension = load_cvm(folder)
    assert extension is None
    assert [source_name(node) for node in loaded.graph.nodes if node.op == "call_function"] == [
        "conv2d_0", "cvm_right_shift_0", "relu_0", "relu_1", "flatten_0"]


@pytest.mark.parametrize("missing", ["symbol", "params"])
def test_missing_file(tmp_path, missing):
    folder = export_cvm(convolution_graph(), tmp_path / "model", extension={})
    (folder / missing).unlink()
    with pytest.raises(InvalidFileError, match=f"'{missing}'"):
        load_cvm(folder)


def model(*nodes, shapes, heads=None, precisions=None, postprocess="") -> CvmSymbol:
    return CvmSymbol(nodes, heads or ((len(nodes) - 1, 0),), shapes,
                     precisions or tuple(8 if node.is_variable else -1 for node in nodes),
                     tuple(range(len(nodes))), postprocess)


def operator(func_name, inputs, **attributes):
    return SymbolNode(f"{func_name}_0", func_name, tuple((i, 0) for i in inputs), attributes)


DATA, WEIGHT = SymbolNode("data"), SymbolNode("w")


def test_all_unsupported_nodes_are_listed_at_once():
    symbol = model(DATA, operator("softmax", [0]), operator("relu", [0, 0]), operator("erf", [0]),
                   shapes=((1, 4),) * 4, postprocess="argmax")
    with pytest.raises(UnsupportedOperatorError, match=r"(?s)softmax.*has 2 inputs, expected 1.*erf.*argmax"):
        graph_of(symbol, {})


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_other_names_of_operators(alias, name):
    """cvm-format 3: the runtime knows them, and has no kernel for them."""
    symbol = model(DATA, operator(alias, [0]), shapes=((1, 4), (1, 4)))
    with pytest.raises(UnsupportedOperatorError, match=f"no kernel for this other name of {name}"):
        graph_of(symbol, {})


def test_composites_are_no_operators_of_the_cvm():
    symbol = model(DATA, operator("batch_dot", [0, 0]), shapes=((1, 4, 4),) * 2)
    with pytest.raises(UnsupportedOperatorError, match="no such operator"):
        graph_of(symbol, {})


def test_operators_of_two_outputs():
    """Round trip of references to the second output, and of heads that are outputs. Oracle: the exported graph."""
    graph = detection_graph()
    symbol, parameters = lower(graph)
    loaded = graph_of(symbol, parameters)
    values = integers((1, 5, 6))
    for ours, theirs in zip(graph(values), loaded(values), strict=True):
        assert torch.equal(ours, theirs)
    assert gas(loaded) == gas(graph)
    verify(loaded)
    assert lower(loaded)[0] == symbol


def test_variants_that_the_back_ends_do_not_agree_on_follow_formal(caplog):
    """Oracle: cvm-format 3.2 and 3.4, by hand. A warning names the nodes."""
    symbol = model(DATA, operator("cvm_left_shift", [0], precision="9", shift_bit="1"),
                   operator("sum", [0], axis="(1,)"), shapes=((2, 3, 1), (2, 3, 1), (2, 1)), heads=((1, 0), (2, 0)))
    loaded = graph_of(symbol, {})
    assert all(name in caplog.text for name in ("cvm_left_shift_0", "sum_0", "follows FORMAL"))
    values = integers((2, 3, 1))
    shifted, total = loaded(values)
    assert torch.equal(shifted, values * 2) and torch.equal(total, values.sum(1).to(torch.int32))
    caplog.clear()
    graph_of(model(DATA, operator("max", [0], axis="()"), shapes=((1, 4), (1,))), {})
    assert not caplog.text


def test_undefined_results_are_refused():
    symbol = model(DATA, WEIGHT, operator("where", [1, 0, 0]), shapes=((2, 3), (2,), (2, 3)))
    with pytest.raises(UnsupportedOperatorError, match="uninitialised"):
        graph_of(symbol, {"w": np.ones(2, np.int8)})


def test_storage_may_be_shared():
    """A chain of copies on two storages, the input's among them, as others plan it."""
    nodes = [DATA, *(operator("negative", [index]) for index in range(4))]
    symbol = replace(model(*nodes, shapes=((2, 3),) * 5), storage_ids=(7, 3, 7, 3, 7))
    values = integers((2, 3))
    assert torch.equal(graph_of(symbol, {})(values)[0], values)


@pytest.mark.parametrize(("symbol", "storage", "safe"), [
    (model(DATA, operator("negative", [0]), operator("elemwise_add", [0, 1]), shapes=((2, 3),) * 3), (0, 1, 1), True),
    (model(DATA, operator("negative", [0]), operator("elemwise_add", [0, 1]), shapes=((2, 3),) * 3), (0, 0, 1), False),
    (model(DATA, operator("relu", [0]), operator("elemwise_add", [0, 1]), shapes=((2, 3),) * 3), (0, 0, 1), False),
    (model(DATA, operator("relu", [0]), operator("elemwise_add", [1, 1]), shapes=((2, 3),) * 3), (0, 0, 0), True),
    (model(DATA, WEIGHT, operator("relu", [1]), shapes=((2, 3),) * 3), (0, 1, 1), False),
    (model(DATA, WEIGHT, operator("relu", [0]), shapes=((2, 3),) * 3, heads=((2, 0), (1, 0))), (0, 0, 1), False)])
def test_storage_that_is_reused(symbol, storage, safe):
    """Oracle: what each storage holds when it is read, by hand. Parameters must survive, the input need not."""
    parameters = {"w": ONES} if len(symbol.variables) == 2 else {}
    planned = replace(symbol, storage_ids=storage)
    if safe:
        graph_of(planned, parameters)
    else:
        with pytest.raises(InvalidFileError, match="overwrite each other"):
            graph_of(planned, parameters)


def test_declared_precisions_count_not_those_the_values_need():
    """``where`` on a 0/1 condition declared with 8 bits is right; a weight declared with 9 is refused."""
    symbol = model(DATA, WEIGHT, operator("where", [1, 0, 0]), shapes=((2, 3),) * 3)
    weight = np.array([[0, 1, 0], [1, 1, 0]], np.int8)
    loaded = graph_of(symbol, {"w": weight})
    values = integers((2, 3))
    assert torch.equal(loaded(values)[0], values)
    assert deployed_bytes(loaded)[1] == format_params({"w": weight})
    wide = model(DATA, WEIGHT, operator("dense", [0, 1], units="2", use_bias="False"), precisions=(8, 9, -1),
                 shapes=((2, 3), (2, 3), (2, 2)))
    with pytest.raises(UnsupportedOperatorError, match="weight has 9 bits"):
        graph_of(wide, {"w": weight})


DENSE = model(DATA, WEIGHT, operator("dense", [0, 1], units="2", use_bias="False"),
              shapes=((2, 3), (2, 3), (2, 2)))
ONES = np.ones((2, 3), np.int8)


@pytest.mark.parametrize(("symbol", "parameters", "reason"), [
    (DENSE, {}, "parameter 'w' is missing"),
    (DENSE, {"w": ONES, "v": ONES}, "parameter 'v' is no variable"),
    (DENSE, {"w": ONES[:1]}, r"has the shape \(1, 3\)"),
    (DENSE, {"w": ONES * -128}, "outside its 8 bits"),
    (replace(DENSE, shapes=((2, 3), (2, 3), (2, 9))), {"w": ONES}, r"the operator gives \(2, 2\)"),
    (model(DATA, operator("transpose", [0], axes="(0, 0)"), shapes=((2, 3), (3, 2))), {}, "repeat"),
    (model(DATA, operator("transpose", [0], axis="(1, 0)"), shapes=((2, 3), (3, 2))), {}, "are axes"),
    (model(DATA, operator("cvm_clip", [0]), shapes=((2, 3), (2, 3))), {}, "has no default"),
    (model(DATA, operator("cvm_clip", [0], precision="8.0"), shapes=((2, 3), (2, 3))), {}, "decimal integer"),
    (model(DATA, operator("repeat", [0], repeats="9" * 20), shapes=((2, 3), (2, 3))), {}, "repeat_0"),
    (model(DATA, WEIGHT, operator("dense", [0, 1], units="3", use_bias="0"), shapes=DENSE.shapes),
     {"w": ONES}, "units is 3, its operands say 2"),
    (model(DATA, WEIGHT, operator("cvm_lut", [0, 1], in_dim="7"), shapes=((2, 3),) * 3), {"w": ONES},
     "in_dim is 7, its operands say 6"),
])
def test_inconsistent_models(symbol, parameters, reason):
    with pytest.raises(InvalidFileError, match=reason):
        graph_of(symbol, parameters)


def test_models_of_others():
    """The input after parameters, an unused one, an array for the input, names that are no identifiers."""
    symbol = model(SymbolNode("class"), SymbolNode("unused weight!"), DATA, operator("elemwise_add", [2, 0]),
                   SymbolNode("dup", "relu", ((3, 0),)), SymbolNode("dup", "relu", ((4, 0),)),
                   shapes=((2, 3),) * 6, heads=((5, 0), (0, 0), (2, 0)))
    weight = np.arange(6, dtype=np.int8).reshape(2, 3)
    loaded = graph_of(symbol, {"class": weight, "unused weight!": weight, "data": weight})
    values = integers((2, 3), -9, 9)
    heads = loaded(values)
    assert torch.equal(heads[0], torch.relu(values + torch.from_numpy(weight)))
    assert torch.equal(heads[1], torch.from_numpy(weight).to(torch.int32))
    assert torch.equal(heads[2], values)
    names = {source_name(node) for node in loaded.graph.nodes if node.op == "get_attr"}
    assert names == {"class", "unused weight!"}


def test_extension_of_another_form_is_refused(tmp_path):
    folder = export_cvm(convolution_graph(), tmp_path / "model", extension={})
    (folder / "ext").write_text("[1]\n[2]\n")
    with pytest.raises(InvalidFileError, match="extension"):
        load_cvm(folder)


SYMBOL, PARAMETERS = lower(convolution_graph())
OP_ATTRIBUTES = [(index, name) for index, node in enumerate(SYMBOL.nodes) for name in node.attributes]


@settings(deadline=None, max_examples=100)
@given(where=st.sampled_from(OP_ATTRIBUTES),
       text=st.text(st.sampled_from("0123456789-+,()[] NTFonerualse"), max_size=12)
       | st.integers().map(str) | st.lists(st.integers()).map(lambda v: str(tuple(v))))
def test_damaged_attributes(where, text):
    """Any text as an attribute: a graph, or one of the two documented errors."""
    index, name = where
    nodes = list(SYMBOL.nodes)
    nodes[index] = replace(nodes[index], attributes={**nodes[index].attributes, name: text})
    try:
        graph_of(replace(SYMBOL, nodes=tuple(nodes)), PARAMETERS)
    except (InvalidFileError, UnsupportedOperatorError):
        pass


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_damaged_folder(tmp_path_factory, data):
    """One damaged byte in either file: a graph, or one of the two documented errors."""
    symbol, params = deployed_bytes(convolution_graph())
    files = {"symbol": bytearray(symbol), "params": bytearray(params)}
    damaged = files[data.draw(st.sampled_from(sorted(files)))]
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("damaged")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        load_cvm(folder)
    except (InvalidFileError, UnsupportedOperatorError):
        pass


def test_scales_of_unexpected_form_are_ignored(tmp_path):
    folder = export_cvm(convolution_graph(), tmp_path / "model",
                        extension={"inputs_ext": {"data": {"scale": "x"}}, "oscales": [0]})
    loaded, extension = load_cvm(folder)
    assert json.loads(json.dumps(extension))["oscales"] == [0]
    assert all(facts_of(node).scale is None for node in loaded.graph.nodes)
