"""Files that must be there. Oracle: which files the test made."""

import pytest

from mrt_torch.data.required_files import required_files
from mrt_torch.errors import InvalidFileError


def test_the_first_alternative_that_is_there_is_taken(tmp_path):
    for name in ("a.gz", "b", "b.gz"):
        (tmp_path / name).touch()
    assert required_files("set", tmp_path, [("a", "a.gz"), ("b", "b.gz"), "b.gz"], "") == [
        tmp_path / "a.gz", tmp_path / "b", tmp_path / "b.gz"]


def test_every_missing_file_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "here").touch()
    with pytest.raises(InvalidFileError, match="files of the data set 'set' are missing") as caught:
        required_files("set", tmp_path, ["here", "folder", ("x", "x.gz")], "get them there")
    assert caught.value.where == str(tmp_path)
    assert caught.value.why == "there is no folder; no x or x.gz"
    assert caught.value.remedy == "get them there"
