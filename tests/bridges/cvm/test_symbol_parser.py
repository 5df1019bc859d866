"""Reading symbol files: what others write is accepted, what would crash the runtime is not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.cvm.symbol_file import CvmSymbol, format_symbol
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.errors import InvalidFileError
from tests.bridges.cvm.test_symbol_file import GOLDEN, REFERENCE

TEXT = GOLDEN.read_text(encoding="ascii")


def edited(edit) -> str:
    document = json.loads(TEXT)
    edit(document)
    return json.dumps(document)


def test_reads_what_the_reference_compiler_wrote():
    """Oracle: the values the golden file was compiled from."""
    assert parse_symbol(TEXT) == parse_symbol(TEXT.encode()) == REFERENCE
    assert format_symbol(parse_symbol(TEXT)) == TEXT


@pytest.mark.parametrize("edit", [
    lambda d: d.pop("version"),
    lambda d: d.update(version="cvm_1.1.0", arg_nodes=[9]),
    lambda d: (d.update(version="cvm_1.1.0"), d.pop("arg_nodes"), d["attrs"].pop("dltype")),
    lambda d: d.update(version="cvm_1.1.0", node_row_ptr=[0, 1, 2, 3, 4, 5, 6]),
    lambda d: d.update(version="cvm_1.1.0", node_row_ptr=[6, 5, 4, 3, 2, 1, 0, 99]),
    lambda d: d["attrs"].update(dtype=["list_str", 7]),
    lambda d: d.update(heads=[[6, 0], [3, 0]]),
    lambda d: d["nodes"][2].update(inputs=[[0, 0], [1, 0, 0]], precision=8),
    lambda d: d["nodes"][2]["attrs"].update(func_name="conv2d_17"),
    lambda d: d["nodes"][2].update(attrs={"func_name": "conv2d", "op_attrs": "x"}),
    lambda d: d["nodes"][4].update(name="conv2d_0"),
    lambda d: d["attrs"].update(dtype=["list_int", [0]], device_index=["list_int", []]),
    lambda d: d["attrs"]["op_attrs"][1].__setitem__(0, "{}"),
    lambda d: d.update(postprocess=""),
])
def test_files_of_others(edit):
    """Each variant is accepted by the runtime (cvm-format, section 1) and means the same graph."""
    parsed = parse_symbol(edited(edit))
    assert [node.operator for node in parsed.nodes] == [node.operator for node in REFERENCE.nodes]
    assert parsed.heads == REFERENCE.heads


@pytest.mark.parametrize(("edit", "reason"), [
    (lambda d: d.pop("node_row_ptr"), "lacks 'node_row_ptr'"),
    (lambda d: d.pop("nodes"), "lacks 'nodes'"),
    (lambda d: d.update(more=1), "unknown key 'more'"),
    (lambda d: d.update(version="cvm_2.0.0"), "version 'cvm_2.0.0'"),
    (lambda d: d.update(postprocess="x" * 32), "postprocess"),
    (lambda d: d.update(arg_nodes=[0]), "arg_nodes"),
    (lambda d: d.update(node_row_ptr=[0]), "node_row_ptr"),
    (lambda d: d.update(version="cvm_1.1.0", node_row_ptr=[0]), "node_row_ptr"),
    (lambda d: d.update(version="cvm_1.1.0", node_row_ptr=[0, 1, 2, 3, 4, 5, 7, 7]), "node_row_ptr"),
    (lambda d: d.update(heads=[]), "no heads"),
    (lambda d: d.update(heads=[[7, 0, 0]]), r"head \(7, 0\)"),
    (lambda d: d.update(heads=[[6, 1, 0]]), r"head \(6, 1\)"),
    (lambda d: d.update(heads=[[-1, 0]]), "heads: expected"),
    (lambda d: d["nodes"][2].update(inputs=[[0, 0, 0], [5, 0, 0]]), "node 2 reads output 0 of node 5"),
    (lambda d: d["nodes"][2].update(inputs=[[2, 0, 0]]), "node 2 reads output 0 of node 2"),
    (lambda d: d["nodes"][2].update(inputs=[[1e9, 0]]), "expected a list"),
    (lambda d: d["nodes"][2].update(op="conv2d"), "neither 'null' nor 'cvm_op'"),
    (lambda d: d["nodes"][2].update(control_deps=[]), "unknown key 'control_deps'"),
    (lambda d: d["nodes"][2]["attrs"].pop("func_name"), "lacks 'func_name'"),
    (lambda d: d["nodes"][2]["attrs"].update(num_inputs=2), "no object of texts"),
    (lambda d: d["nodes"][2]["attrs"].update(extra="2"), "unknown key 'extra'"),
    (lambda d: d["nodes"][1].update(name="data"), "is used 2 times"),
    (lambda d: d["nodes"][0].update(name="input"), "no variable is named 'data'"),
    (lambda d: d["nodes"].__setitem__(3, 5), "node 3 is no object"),
    (lambda d: d["attrs"].update(more=["list_int", []]), "unknown key 'more'"),
    (lambda d: d["attrs"].update(shape=["list_int", []]), "'shape' is not a pair"),
    (lambda d: d["attrs"]["shape"][1].pop(), "'shape' has 6 items, expected 7"),
    (lambda d: d["attrs"]["op_attrs"][1].pop(), "'op_attrs' has 6 items, expected 7"),
    (lambda d: d["attrs"]["op_attrs"][1].__setitem__(2, '{"channels": 4}'), "no object of texts"),
    (lambda d: d["attrs"]["op_attrs"][1].__setitem__(2, "{"), "is no JSON"),
    (lambda d: d["attrs"]["shape"][1].__setitem__(0, [0, 3]), "tensor 0 has the shape"),
    (lambda d: d["attrs"]["shape"][1].__setitem__(0, [1] * 7), "tensor 0 has the shape"),
    (lambda d: d["attrs"]["shape"][1].__setitem__(0, [2 ** 24, 2 ** 24]), "tensor 0 has the shape"),
    (lambda d: d["attrs"]["precision"][1].__setitem__(0, -1), "'data' has no precision"),
    (lambda d: d["attrs"]["precision"][1].__setitem__(2, 33), "tensor 2 has the precision 33"),
    (lambda d: d["attrs"]["storage_id"][1].__setitem__(2, -1), "tensor 2 has the storage id -1"),
    (lambda d: d["attrs"]["storage_id"][1].__setitem__(2, True), "'storage_id' holds"),
    (lambda d: d["attrs"]["dltype"][1].__setitem__(2, "int8"), "dltype"),
    (lambda d: d["attrs"].update(device_index=["list_int", [0]]), "device_index"),
])
def test_refusals(edit, reason):
    with pytest.raises(InvalidFileError, match=reason):
        parse_symbol(edited(edit))


@pytest.mark.parametrize("text", ["", "[]", "{", "nan", '{"nodes": [], "nodes": []}', "[" * 100_000,
                                  b"\xff{}", "1" * 10_000, '{"nodes": []}',
                                  '{"nodes": 1, "attrs": 2, "heads": 3}'])
def test_no_symbol_file_at_all(text):
    with pytest.raises(InvalidFileError):
        parse_symbol(text)


def test_all_problems_at_once():
    def edit(document):
        document["attrs"]["precision"][1][0] = 40
        document["attrs"]["storage_id"][1][0] = -2
        document["heads"] = [[9, 0]]
    with pytest.raises(InvalidFileError, match=r"(?s)head \(9, 0\).*precision 40.*storage id -2"):
        parse_symbol(edited(edit))


@settings(deadline=None, max_examples=100)
@given(position=st.integers(0, len(TEXT) - 1), text=st.text(max_size=3), removed=st.integers(0, 4))
def test_damaged_text(position, text, removed):
    """A damaged file is either still a symbol file or InvalidFileError, never another exception."""
    try:
        assert isinstance(parse_symbol(TEXT[:position] + text + TEXT[position + removed:]), CvmSymbol)
    except InvalidFileError:
        pass


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4)


def leaves(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from leaves(value[index], (*path, index))


@settings(deadline=None, max_examples=100)
@given(path=st.sampled_from(list(leaves(json.loads(TEXT)))[1:]), junk=JUNK)
def test_damaged_values(path, junk):
    """Any JSON value in the place of any other: a symbol file or InvalidFileError."""
    def edit(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = junk
    try:
        assert isinstance(parse_symbol(edited(edit)), CvmSymbol)
    except InvalidFileError:
        pass
