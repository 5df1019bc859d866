"""Attribute strings; oracle: the grammar of MXNet's parameter parser (dmlc parameter.h, mxnet tuple.h)."""

from __future__ import annotations

import math

import pytest

from bridges.mxnet.attributes import Attributes
from mrt_torch.errors import InvalidFileError


def read(kind, text, *arguments):
    return getattr(Attributes("Convolution", "conv1", {"size": text}), kind)("size", *arguments)


@pytest.mark.parametrize("kind, text, expected", [
    ("integer", "3", 3), ("integer", " -3 ", -3), ("integer", "16L", 16), ("integer", "+7", 7),
    ("optional_integer", "None", None), ("optional_integer", "0", 0),
    ("real", "1e-05", 1e-5), ("real", "-.5", -0.5), ("real", "127.5", 127.5), ("real", "2.", 2.0),
    ("real", "1", 1.0),
    ("real", "0.5f", 0.5), ("real", "-inf", -math.inf), ("optional_real", "None", None),
    ("reals", "(0.1, -2)", (0.1, -2.0)), ("reals", "0.5", (0.5,)), ("reals", "[1e-3,]", (1e-3,)), ("reals", "()", ()),
    ("boolean", "True", True), ("boolean", "true", True), ("boolean", "1", True), ("boolean", "False", False),
    ("boolean", "0", False), ("optional_boolean", "None", None), ("optional_boolean", "False", False),
    ("integers", "(3, 3)", (3, 3)), ("integers", "[1,2]", (1, 2)), ("integers", "(1,)", (1,)),
    ("integers", "()", ()),
    ("integers", "[]", ()), ("integers", "5", (5,)), ("integers", "(2L, 2L)", (2, 2)),
    ("integers", "( 1 , -1 )", (1, -1)),
    ("optional_integers", "None", None), ("optional_integers", "(0,)", (0,)),
    ("bounds", "(None, 1, -1)", (None, 1, -1)), ("bounds", "None", (None,)), ("bounds", "()", ()),
])
def test_accepted(kind, text, expected):
    value = read(kind, text)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize("kind, text", [
    ("integer", "3.0"), ("integer", ""), ("integer", "None"), ("integer", "1_0"), ("integer", "٣"),
    ("integer", "9" * 5000), ("real", "nan"), ("real", "1e999"), ("real", "1,5"), ("real", "0x1p3"),
    ("real", "1" * 5000 + "e"), ("boolean", "yes"), ("boolean", "TRUE"), ("boolean", "None"), ("boolean", ""),
    ("integers", "(3, 3"), ("integers", "(3; 3)"), ("integers", "(3,,3)"), ("integers", "(,)"),
    ("integers", "(3.0,)"),
    ("integers", "None"), ("integers", "(None,)"), ("integers", "{1}"), ("integers", "(1]"),
    ("integers", "((1,))"),
    ("reals", "(1, nan)"), ("reals", "1, 2"), ("reals", "None"), ("reals", "(1,,2)"),
    ("bounds", "(None,,)"), ("bounds", "(none,)"),
])
def test_malformed_is_named(kind, text):
    with pytest.raises(InvalidFileError, match="'conv1' \\(Convolution\\)") as caught:
        read(kind, text)
    assert "'size'" in str(caught.value) and text[:80] in str(caught.value)


def test_choice():
    assert read("choice", "max", ("avg", "max")) == "max"
    with pytest.raises(InvalidFileError, match="one of avg, max"):
        read("choice", "sum", ("avg", "max"))


@pytest.mark.parametrize("kind, default",
                         [("integer", 1), ("real", 0.5), ("boolean", False), ("integers", ()),
                          ("optional_integer", None), ("optional_boolean", True), ("bounds", ())])
def test_default_is_for_absent_attributes(kind, default):
    assert getattr(Attributes("Pooling", "pool", {"other": "x"}), kind)("size", default) == default


def test_required_attribute():
    with pytest.raises(InvalidFileError, match="is missing"):
        Attributes("Pooling", "pool", {}).integers("kernel")


def test_presence():
    attributes = Attributes("Pooling", "pool", {"kernel": "(2, 2)", "__lr_mult__": "x"})
    assert "kernel" in attributes and "stride" not in attributes
