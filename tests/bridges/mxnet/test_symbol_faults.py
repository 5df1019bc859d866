"""Broken symbol files: a clear InvalidFileError, or a symbol that can be written and read again."""

from __future__ import annotations

import copy
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.mxnet.symbol_file import format_symbol, parse_symbol, read_symbol
from mrt_torch.errors import InvalidFileError
from tests.bridges.mxnet.symbol_cases import LEGACY, edited


def _set(path: list, value):
    def change(graph):
        target = graph
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value
    return change


@pytest.mark.parametrize(("change", "message"), [
    (_set(["nodes"], {}), 'no list "nodes"'),
    (_set(["nodes", 2], 5), "node 2"),
    (_set(["nodes", 3, "op"], None), "'op' is None"),
    (_set(["nodes", 3, "name"], ["bn"]), "'name' is ['bn']"),
    (_set(["nodes", 3, "inputs"], None), "a list is expected"),
    (_set(["nodes", 3, "inputs"], [[0, 0], [3, 0]]), "none of the 3 nodes that come before"),
    (_set(["nodes", 3, "inputs"], [[-1, 0]]), "node index -1"),
    (_set(["nodes", 3, "inputs"], [[0, -1]]), "output index -1"),
    (_set(["nodes", 3, "inputs"], [[0, 1]]), "which has one output"),
    (_set(["nodes", 3, "inputs"], [[0]]), "input"),
    (_set(["nodes", 3, "inputs"], [[0, 0, 0, 0]]), "[node, output]"),
    (_set(["nodes", 3, "inputs"], [[0, True]]), "[node, output]"),
    (_set(["nodes", 3, "inputs"], [[0.0, 0]]), "[node, output]"),
    (_set(["nodes", 4, "inputs"], [[3, 2**40]]), "output index"),
    (_set(["nodes", 1, "inputs"], [[0, 0]]), "a variable has 1 inputs"),
    (_set(["nodes", 3, "param"], []), "an object is expected"),
    (_set(["nodes", 3, "param"], {"eps": [1]}), "'eps' is [1]"),
    (_set(["nodes", 3, "attr"], {"eps": "0.1"}), "is both '0.002' and '0.1'"),
    (_set(["nodes", 3, "name"], "a\0b"), "control character"),
    (_set(["nodes", 3, "name"], "\ud800"), "lone surrogate"),
    (_set(["nodes", 3, "subgraphs"], [{}]), "subgraphs"),
    (_set(["nodes", 3, "control_deps"], [0]), "control_deps"),
    (_set(["nodes", 3, "extra"], 1), "'extra' is unknown"),
    (_set(["extra"], 1), "'extra' is unknown"),
    (_set(["heads"], []), "no output"),
    (_set(["heads"], [[6, 0]]), "none of the 6 nodes"),
    (_set(["heads"], 5), "a list is expected"),
    (_set(["arg_nodes"], [3]), "arg_nodes"),
    (_set(["arg_nodes"], [99]), "arg_nodes"),
    (_set(["attrs"], []), "attrs"),
    (_set(["attrs"], {"mxnet_version": 10901}), "[kind, value]"),
    (_set(["attrs"], {"mxnet_version": ["int", "1"]}), "not of the kind 'int'"),
    (_set(["attrs"], {"mxnet_version": ["int", -1]}), "10901 is expected"),
    (_set(["attrs"], {"mxnet_version": ["str", "1.9"]}), "10901 is expected"),
    (_set(["attrs"], {"mxnet_version": ["int", 2**40]}), "32 bits"),
])
def test_malformed_graph_is_refused(change, message):
    """Oracle: the rule broken by hand is the rule named."""
    with pytest.raises(InvalidFileError) as raised:
        parse_symbol(edited(change), source="x-symbol.json")
    assert message in str(raised.value)
    assert "x-symbol.json" in raised.value.where
    assert raised.value.remedy


@pytest.mark.parametrize(("text", "message"), [
    ("", "character 0"),
    ('{"nodes": [}', "line 1, column 12 (character 11)"),
    ("[" * 200_000, "nested too deep"),
    ('{"nodes": ' + '{"a":' * 100_000, "nested too deep"),
    ('{"nodes": [NaN]}', "NaN is no JSON number"),
    ('{"nodes": [-Infinity]}', "-Infinity is no JSON number"),
    ('{"nodes": [1e999]}', "too large"),
    ('{"nodes": [' + "9" * 100_000 + "]}", "100000 characters"),
    ('{"nodes": [], "nodes": []}', "'nodes' stands twice"),
    ("[]", 'no list "nodes"'),
    ("\ufeff{}", "BOM"),
])
def test_malformed_text_is_refused(text, message):
    """Oracle: the rule broken by hand is the rule named."""
    with pytest.raises(InvalidFileError, match=re.escape(message)):
        parse_symbol(text)


def test_unreadable_files_are_refused(tmp_path):
    """Oracle: the operating system's reason, or the offset of the first byte that is not UTF-8."""
    latin = tmp_path / "latin-symbol.json"
    latin.write_bytes(b'{"nodes": "\xe4"}')
    for path, message in [(latin, "byte 11"), (tmp_path / "none-symbol.json", "No such file"),
                          (tmp_path, "directory"), ("null\0character", "null")]:
        with pytest.raises(InvalidFileError, match=message):
            read_symbol(path)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_mutated_bytes_give_a_symbol_or_an_error(tmp_path_factory, data):
    """Oracle: a Symbol that can be written and read again, or InvalidFileError."""
    content = bytearray(json.dumps(LEGACY).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        stop = min(len(content), start + data.draw(st.integers(0, 3)))
        syntax = st.sampled_from([b"9", b"-", b'"', b"[", b"]"])
        content[start:stop] = data.draw(st.binary(max_size=3) | syntax)
    path = tmp_path_factory.mktemp("mutated") / "x-symbol.json"
    path.write_bytes(content)
    try:
        symbol = read_symbol(path)
    except InvalidFileError:
        return
    assert parse_symbol(format_symbol(symbol)) == symbol


keys = st.text(max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats(-9, 9) | keys,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(keys, parts, max_size=3),
    max_leaves=6)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_replaced_values_give_a_symbol_or_an_error(data):
    """Oracle: a Symbol that can be written and read again, or InvalidFileError."""
    graph = copy.deepcopy(LEGACY)
    graph["attrs"] = {"mxnet_version": ["int", data.draw(st.sampled_from([800, 1000, 10901]))]}
    for _ in range(data.draw(st.integers(1, 3))):
        target, container = graph, None
        for _ in range(data.draw(st.integers(1, 5))):
            if not isinstance(target, (dict, list)) or not target:
                break
            container = target
            places = sorted(target) if isinstance(target, dict) else range(len(target))
            key = data.draw(st.sampled_from(places))
            target = target[key]
        if container is not None:
            container[key] = data.draw(json_values)
    try:
        symbol = parse_symbol(json.dumps(graph))
    except InvalidFileError:
        return
    assert parse_symbol(format_symbol(symbol)) == symbol
