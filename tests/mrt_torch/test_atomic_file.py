"""Oracle: the file system itself, before and after a success or a failure provoked in the middle."""

from __future__ import annotations

import os

import pytest

from mrt_torch import atomic_file
from mrt_torch.atomic_file import atomic_directory, atomic_write
from mrt_torch.errors import InvalidArgumentError


class Interrupted(Exception):
    pass


def interrupt(*_):
    raise Interrupted


def test_write_makes_and_replaces_a_file(tmp_path):
    path = tmp_path / "model.json"
    for content in (b"first", b"", b"third"):
        atomic_write(path, content)
        assert path.read_bytes() == content
        assert os.listdir(tmp_path) == ["model.json"]


def test_written_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    atomic_write(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "model.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(atomic_file.os, step, interrupt)
    with pytest.raises(Interrupted):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.json"]


def test_write_needs_a_parent_folder_and_no_folder_in_its_place(tmp_path):
    with pytest.raises(InvalidArgumentError, match="parent"):
        atomic_write(tmp_path / "missing" / "model.json", b"")
    with pytest.raises(InvalidArgumentError, match="folder"):
        atomic_write(tmp_path, b"")


def test_directory_makes_and_replaces_a_folder(tmp_path):
    path = tmp_path / "model"
    for name in ("first", "second"):
        with atomic_directory(path) as folder:
            assert folder.parent == tmp_path
            (folder / name).write_bytes(b"x")
            assert not (path / name).exists()
        assert os.listdir(path) == [name]
        assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("exists", [False, True])
def test_failed_block_leaves_the_old_folder(tmp_path, exists):
    path = tmp_path / "model"
    if exists:
        path.mkdir()
        (path / "old").touch()
    with pytest.raises(Interrupted), atomic_directory(path) as folder:
        (folder / "new").touch()
        interrupt()
    assert os.listdir(tmp_path) == (["model"] if exists else [])
    assert not exists or os.listdir(path) == ["old"]


def test_failed_rename_puts_the_old_folder_back(tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    rename, calls = os.rename, []

    def fail_second(source, target):
        calls.append(source)
        if len(calls) == 2:
            interrupt()
        rename(source, target)

    monkeypatch.setattr(atomic_file.os, "rename", fail_second)
    with pytest.raises(Interrupted), atomic_directory(path) as folder:
        (folder / "new").touch()
    assert (os.listdir(tmp_path), os.listdir(path), len(calls)) == (["model"], ["old"], 3)


def test_directory_refuses_files_links_and_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    monkeypatch.chdir(tmp_path / "folder")
    parent_missing = tmp_path / "no" / "parent"
    for path in (tmp_path / "file", tmp_path / "link", tmp_path / "folder", tmp_path, parent_missing):
        with pytest.raises(InvalidArgumentError), atomic_directory(path):
            pass
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "link"]
