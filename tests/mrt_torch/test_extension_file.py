"""Oracle: Python's json, line by line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch import load_ext, save_ext
from mrt_torch.errors import InvalidArgumentError, InvalidFileError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6)


@settings(deadline=None, max_examples=80)
@given(st.lists(VALUES, max_size=4))
def test_round_trip(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "round.ext"
    save_ext(path, *values)
    assert load_ext(path) == tuple(values)
    assert [json.loads(line) for line in path.read_text().split("\n")[:-1]] == values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"bytes", 1j, {(1, 2): 3}], ids=repr)
def test_what_json_cannot_hold_leaves_the_old_file(tmp_path, value):
    """The original logged an error and left an empty line."""
    path = tmp_path / "model.ext"
    save_ext(path, "old")
    with pytest.raises(InvalidArgumentError, match="value 1"):
        save_ext(path, "new", value)
    assert load_ext(path) == ("old",)


@pytest.mark.parametrize("content", [b"{", b"1\n\n2\n", b"\n", b"[1", b"text", b"\xff\xfe", b"[" * 100_000, b"1 2"],
                         ids=lambda content: repr(content[:10]))
def test_what_is_no_ext_file(tmp_path, content):
    (tmp_path / "bad.ext").write_bytes(content)
    with pytest.raises(InvalidFileError):
        load_ext(tmp_path / "bad.ext")


def test_a_missing_file(tmp_path):
    with pytest.raises(InvalidFileError, match="bad.ext"):
        load_ext(tmp_path / "bad.ext")


def test_lines_end_at_newlines_only(tmp_path):
    """Other line separators of Unicode may stand inside a string that another program wrote."""
    path = tmp_path / "other.ext"
    path.write_text('"a\u2028b"\n"c\x85d"', encoding="utf-8")
    assert load_ext(path) == ("a\u2028b", "c\x85d")
