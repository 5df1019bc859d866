"""The INI form. Oracles: configparser's rules, written out by hand; and for arbitrary text, that only errors of the
library leave."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidFileError, MRTError
from mrt_torch.pipeline import read_configuration
from mrt_torch.pipeline.keys import KEYS, SECTIONS
from mrt_torch.pipeline.read_ini import read_ini


def test_comments_continued_lines_and_percent_signs(tmp_path):
    path = tmp_path / "a.ini"
    lines = ["[DEFAULT]", "A = 50%(x)s", "[S]", "list=", "  one, ; kept", "  # gone", "; gone", "", "  two", "B: c=d"]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert read_ini(path) == {"DEFAULT": {"a": "50%(x)s"}, "S": {"list": "\none, ; kept\n\ntwo", "b": "c=d"}}


@pytest.mark.parametrize("text, reason", [
    ("Batch=1\n", "line 1 stands before the first section"), ("[S]\nBatch\n", "line 2 is no option"),
    ("[S]\nBatch=1\nbatch=2\n", "line 3: option `batch` in section `S` is given twice"),
    ("[S]\n[S]\n", "line 2: section `S` is given twice")])
def test_other_texts_are_refused_with_the_line(tmp_path, text, reason):
    (tmp_path / "a.ini").write_text(text)
    with pytest.raises(InvalidFileError) as caught:
        read_ini(tmp_path / "a.ini")
    assert reason in caught.value.why and str(tmp_path) in caught.value.where and caught.value.remedy


@pytest.mark.parametrize("name, content", [("missing.ini", None), ("binary.ini", b"[S]\n\xff=1\n")])
def test_files_that_cannot_be_read_are_told(tmp_path, name, content):
    if content:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidFileError, match="the configuration cannot be read"):
        read_ini(tmp_path / name)
    with pytest.raises(InvalidFileError, match="the configuration cannot be read"):
        read_ini(tmp_path)


LINES = st.one_of(
    st.sampled_from([f"[{section}]" for section in SECTIONS]),
    st.builds("{}={}".format, st.sampled_from([key.name for key in KEYS]), st.text(max_size=12)),
    st.sampled_from(["", " ", "  a: 1,", "# x", "; y", "  ; z", "Keys", "Keys:", "=", "[", "[]", "  x"]),
    st.text(max_size=12))


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=12))
def test_any_text_is_a_configuration_or_an_error_of_the_library(tmp_path, lines):
    path = tmp_path / "any.ini"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    try:
        read_configuration(path)
    except MRTError as error:
        assert str(error)
