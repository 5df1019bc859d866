"""Values from text and from TOML's types.

Oracles: values written by hand; Python's own literals, where a text is one; and for arbitrary text that nothing but an
error of the library leaves.
"""

from __future__ import annotations

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidArgumentError, MRTError
from mrt_torch.pipeline.value_types import (
    ARRAY,
    BOOL,
    DEVICE,
    FLOAT,
    INT,
    JSON,
    PAIR,
    PATH,
    STR,
    TUPLE,
    described,
)
from mrt_torch.pipeline.values import native_value, parse_value

NAMES = st.text("ab_0.", min_size=1, max_size=8)
ALL_TYPES = (STR, INT, BOOL, TUPLE, FLOAT, PATH, DEVICE, JSON, ARRAY(INT), ARRAY(STR), PAIR(STR, FLOAT),
             PAIR(STR, STR, STR), PAIR(STR, STR, JSON))
hypothesis = settings(deadline=None, max_examples=60)


@pytest.mark.parametrize("text, dtype, value", [
    ("16", INT, 16), (" -16 ", INT, -16), ("+1", INT, 1), ("1", FLOAT, 1.0), ("-.5e-2", FLOAT, -0.005),
    ("True", BOOL, True), ("no", BOOL, False), ("0", BOOL, False), ("a b%c", STR, "a b%c"),
    ("(-1, 3, 224, 224)", TUPLE, (-1, 3, 224, 224)), ("-1,3,224,224", TUPLE, (-1, 3, 224, 224)),
    ("[38, -1]", TUPLE, (38, -1)), ("(3,)", TUPLE, (3,)), ("7", TUPLE, (7,)),
    ("1", ARRAY(INT), (1,)), ("3,4,5,", ARRAY(INT), (3, 4, 5)), ("\n  a,\n  b\n  c,\n", ARRAY(STR), ("a", "b", "c")),
    ("", ARRAY(STR), ()), ("a: 1, b:2.5,", PAIR(STR, FLOAT), {"a": 1.0, "b": 2.5}),
    ("a: b: c,\n a: d: e\n f: g: h", PAIR(STR, STR, STR), {"a": {"b": "c", "d": "e"}, "f": {"g": "h"}}),
    ('["a", "b:c"]: gn_info: {"x": [1, 2]}', PAIR(STR, STR, JSON), {'["a", "b:c"]': {"gn_info": '{"x": [1, 2]}'}}),
    ('["a". "b"]: gn_info: {"x"; 1. "y"; 2}', PAIR(STR, STR, JSON), {'["a". "b"]': {"gn_info": '{"x"; 1. "y"; 2}'}}),
    ("a[0]: 1, b(: 2, c: 3", PAIR(STR, FLOAT), {"a[0]": 1.0, "b(": 2.0, "c": 3.0}),
    ("", DEVICE, ""), ("gpu", DEVICE, "gpu")])
def test_texts_stand_for_values(text, dtype, value):
    found = parse_value(text, dtype, "here")
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text, dtype, message", [
    ("1.0", INT, "Only support integer value"), ("0x10", INT, "Only support integer value"),
    ("2**70", INT, "Only support integer value"), ("9" * 5000, INT, "Only support integer value"),
    ("1_000", INT, "Only support integer value"), ("١٦", INT, "Only support integer value"),
    ("inf", FLOAT, "Not a valid value"), ("1e999", FLOAT, "Not a valid value"), ("nan", FLOAT, "Not a valid value"),
    ("1,5", FLOAT, "Not a valid value"), ("", FLOAT, "Not a valid value"), ("None", BOOL, "Not a valid value"),
    ("()", TUPLE, "Not a valid value"), ("(1,,2)", TUPLE, "Not a valid value"), ("(1, 2.5)", TUPLE, "Not a valid"),
    ("((1, 2), 3)", TUPLE, "Not a valid value"), ("(1, 2]", TUPLE, "Not a valid value"),
    ("a\0b", STR, "Not a valid value"), ("a\0b", PATH, "Not a valid value"), ("0;1", ARRAY(INT), "Only support int"),
    ("CPU", DEVICE, "Only support `gpu`, `cpu` and null value"), ("a", PAIR(STR, FLOAT), "Dict level not consistent"),
    (": 1", PAIR(STR, FLOAT), "Dict level not consistent"), ("a: x", PAIR(STR, FLOAT), "Not a valid value"),
    ("a:b:1,a:c:1,a:b:2", PAIR(STR, STR, INT), r"Duplicate key `\['a', 'b'\]`"),
    ("1", "_odd_", "there is no type of values '_odd_'"), ("1", PAIR(STR), "there is no type of values")])
def test_other_texts_are_refused(text, dtype, message):
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        parse_value(text, dtype, "option `K` in section `S`")
    assert caught.value.where == "option `K` in section `S`" and caught.value.remedy


@pytest.mark.parametrize("value, dtype, read", [
    (16, INT, 16), (2, FLOAT, 2.0), (True, BOOL, True), ([-1, 3], TUPLE, (-1, 3)), (3, STR, "3"),
    ([0, 1], ARRAY(INT), (0, 1)), (2, ARRAY(INT), (2,)), (["a, b", "c"], ARRAY(STR), ("a, b", "c")),
    ({"a": 1, "b": 2.5}, PAIR(STR, FLOAT), {"a": 1.0, "b": 2.5}),
    ({"a": {"b": "c"}}, PAIR(STR, STR, STR), {"a": {"b": "c"}}),
    ({"a": {"gn_info": {"x": [1]}}}, PAIR(STR, STR, JSON), {"a": {"gn_info": {"x": [1]}}})])
def test_values_of_toml(value, dtype, read):
    found = native_value(value, dtype, "here")
    assert found == read and type(found) is type(read)


@pytest.mark.parametrize("value, dtype, message", [
    (True, INT, "Only support integer value"), (1.0, INT, "Only support integer value"), (True, FLOAT, "Not a valid"),
    (float("nan"), FLOAT, "Not a valid"), (10**400, FLOAT, "Not a valid"), (1, BOOL, "Not a valid"),
    ((1, 2), TUPLE, "Not a valid"), ([1, "2"], TUPLE, "Not a valid"), (["1"], ARRAY(INT), "Only support integer"),
    (1.5, STR, "Not a valid"), (1, PATH, "Not a valid"), (1, DEVICE, "Only support `gpu`"),
    ({"a": {"b": 1}}, PAIR(STR, FLOAT), "Not a valid"), ({"a": 1}, PAIR(STR, STR, STR), "Dict level not consistent"),
    ([1], PAIR(STR, FLOAT), "Dict level not consistent"), (1, "_odd_", "no type of values"),
    ({"a ": 1, "a": 2}, PAIR(STR, FLOAT), "Duplicate key")])
def test_other_values_of_toml_are_refused(value, dtype, message):
    with pytest.raises(InvalidArgumentError, match=message):
        native_value(value, dtype, "here")


def test_paths_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert parse_value("a/../b", PATH, "here") == tmp_path / "b"
    assert parse_value("~/b", PATH, "here") == tmp_path / "home" / "b"


@pytest.mark.parametrize("dtype, text", [
    (INT, "int"), (ARRAY(INT), "list of int"), (PAIR(STR, STR, FLOAT), "map str: str: float")])
def test_types_are_described(dtype, text):
    assert described(dtype) == text


@hypothesis
@given(st.integers(-10**18 + 1, 10**18 - 1))
def test_integers_come_back(value):
    assert parse_value(str(value), INT, "here") == value


@hypothesis
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_come_back(value):
    assert parse_value(repr(value), FLOAT, "here") == value


@hypothesis
@given(st.lists(st.integers(-10**9, 10**9), min_size=1).map(tuple))
def test_tuples_come_back(value):
    """As Python writes them, and without the parentheses."""
    assert parse_value(repr(value), TUPLE, "here") == value == parse_value(repr(value)[1:-1], TUPLE, "here")
    assert parse_value(repr(value), TUPLE, "here") == ast.literal_eval(repr(value))


@hypothesis
@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.floats(0, 1e9), min_size=1, max_size=4), min_size=1,
                       max_size=4), st.sampled_from([",", "\n", ",\n  "]))
def test_maps_come_back(value, separator):
    text = separator.join(f"{outer}: {inner}:{number!r}" for outer, below in value.items()
                          for inner, number in below.items())
    assert parse_value(text, PAIR(STR, STR, FLOAT), "here") == value


@hypothesis
@given(st.text(max_size=60) | st.text("0123456789+-.,:;()[]{}\"eE \n\0~_", max_size=60), st.sampled_from(ALL_TYPES))
def test_any_text_is_a_value_or_an_error_of_the_library(text, dtype):
    try:
        parse_value(text, dtype, "here")
    except MRTError as error:
        assert str(error)


@hypothesis
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
                    max_leaves=8), st.sampled_from(ALL_TYPES))
def test_any_value_of_toml_is_a_value_or_an_error_of_the_library(value, dtype):
    try:
        native_value(value, dtype, "here")
    except MRTError as error:
        assert str(error)
