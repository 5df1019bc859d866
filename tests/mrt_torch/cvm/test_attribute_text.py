"""Attribute texts against the runtime's grammar (cvm-format 1.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrt_torch.cvm.attribute_text import (
    integer,
    integers,
    literal,
    parse_boolean,
    parse_integer,
    parse_integers,
    parse_optional_integer,
    reader,
    unused,
    write,
)
from mrt_torch.errors import InvalidFileError


@pytest.mark.parametrize(("text", "values"), [
    ("(1, 2)", [1, 2]), ("[1, 2]", [1, 2]), ("(1,)", [1]), ("1", [1]), ("()", []), ("[]", []),
    (" ( -1 ,2, ) ", [-1, 2]), ("(3)", [3]), ("(1,2,3)", [1, 2, 3])])
def test_tuples(text, values):
    assert parse_integers(text) == values


@pytest.mark.parametrize("text", [
    "", "(1", "1)", "(1 2)", "(1,,2)", "(a,)", "1, 2", "(1.0,)", "((1,),)", "None", "(,)"])
def test_malformed_tuples(text):
    with pytest.raises(ValueError):
        parse_integers(text)


@pytest.mark.parametrize(("text", "value"), [
    ("True", True), ("true", True), ("1", True), ("FALSE", False), ("0", False)])
def test_booleans(text, value):
    assert parse_boolean(text) is value


@pytest.mark.parametrize("text", ["yes", "", "2", "None"])
def test_malformed_booleans(text):
    with pytest.raises(ValueError):
        parse_boolean(text)


@pytest.mark.parametrize("text", ["", "1.0", "0x1", "1e3", "1_000", "١", "9" * 5000])
def test_malformed_integers(text):
    with pytest.raises(ValueError):
        parse_integer(text)


def test_optional_integers():
    assert parse_optional_integer("None") is None
    assert parse_optional_integer("-3") == -3


@given(st.lists(st.integers(-2 ** 40, 2 ** 40), max_size=5))
def test_tuples_survive_writing_and_reading(values):
    assert parse_integers(write(x=values)["x"]) == parse_integers(write(x=tuple(values))["x"]) == values


def test_writing_uses_the_spelling_of_python():
    assert write(a=[1], b=True, c=None, d=-3, e="NCHW") == {"a": "(1,)", "b": "True", "c": "None", "d": "-3",
                                                           "e": "NCHW"}


def test_reader_fills_defaults_and_drops_what_the_schema_lacks():
    read = reader("op", size=integer(), steps=integers((1, 1)), layout=literal("NCHW"),
                  units=unused(integer(0)))
    first, second = read({"size": "2"}), read({"size": "2", "units": "7", "layout": "NCHW", "__hint__": "x"})
    assert first == second == {"size": 2, "steps": [1, 1]}
    assert first["steps"] is not second["steps"]


@pytest.mark.parametrize(("attributes", "message"), [
    ({}, "lacks its attribute 'size'"), ({"size": "x"}, "malformed"), ({"size": 2}, "not a string"),
    ({"size": "2", "layout": "NHWC"}, "malformed"), ({"size": "2", "colour": "1"}, "no attribute 'colour'")])
def test_reader_refuses(attributes, message):
    with pytest.raises(InvalidFileError, match=message):
        reader("op", size=integer(), layout=literal("NCHW"))(attributes)
