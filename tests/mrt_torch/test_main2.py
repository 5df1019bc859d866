"""Helpers and the command of the configuration pipeline.

Oracles: the names, arguments and messages that MRT documents; values written out by hand.
"""

from __future__ import annotations

import configparser
import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from mrt_torch import main2
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.main2 import (
    ARRAY,
    PAIR,
    _cast_val,
    _check,
    _checkpoint_exist,
    _get_ctx,
    _get_path,
    _get_val,
    _load_fname,
    batch_axis,
    bool_t,
    float_t,
    int_t,
    set_batch,
    str_t,
    tuple_t,
)


def parsed(text: str) -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read_string(text)
    return config


def test_the_helpers_have_their_documented_arguments():
    """Names, order and defaults of the documented signatures; <object object> there stands for no default."""
    documented = {
        "set_batch": "input_shape, batch", "batch_axis": "input_shape", "ARRAY": "dtype", "PAIR": "*dtypes",
        "_check": "expression, section, option, message='Not a valid value'",
        "_get_path": "config, section, option, is_dir=False, dpath=<object>", "_get_ctx": "config, section, dctx='cpu'",
        "_get_val": "config, section, option, dtype='_str_', dval=<object>",
        "_cast_val": "section, option, val_, dtype='_str_'", "_load_fname": "prefix, suffix=None, with_ext=False",
        "_checkpoint_exist": "sec, *flist"}
    for name, arguments in documented.items():
        signature = inspect.signature(getattr(main2, name))
        plain = [str(p.replace(annotation=inspect.Parameter.empty)) for p in signature.parameters.values()]
        assert re.sub(r"<object object at \w+>", "<object>", ", ".join(plain)) == arguments, name


def test_shapes_are_filled():
    assert batch_axis((38, -1)) == 1 and set_batch((38, -1), 16) == (38, 16)


def test_types_are_texts():
    assert (ARRAY(int_t), PAIR(str_t, float_t)) == ("[_int_]", "{_str_:_float_}")


@pytest.mark.parametrize("option, dtype, value", [
    ("A", str_t, "(1, 2)"), ("a", tuple_t, (1, 2)), ("B", ARRAY(int_t), [3, 4]),
    ("C", PAIR(str_t, float_t), {"x": 1.5}), ("D", bool_t, True), ("E", int_t, 7), ("F", int_t, 8),
    ("P", str_t, "100%(a)s")])
def test_values_of_a_parser(option, dtype, value):
    config = parsed("[DEFAULT]\nE=7\nF=9\n[S]\nA=(1, 2)\nB=3,4,\nC= x: 1.5\nD=True\nF=8\nP=100%(a)s\n")
    assert _get_val(config, "S", option, dtype=dtype) == value


def test_absent_and_empty_values_have_the_default():
    config = parsed("[S]\nA=\n")
    assert _get_val(config, "S", "A", dval=[]) == [] and _get_val(config, "S", "B", int_t, None) is None
    assert _get_val(config, "T", "B", ARRAY(int_t), "") == ""
    with pytest.raises(InvalidArgumentError, match=r"Please specify the value\n.*option `A` in section `S`"):
        _get_val(config, "S", "A")


@pytest.mark.parametrize("text, dtype, message", [
    ("1.5", int_t, "Only support integer value"), ("1+", tuple_t, "Not a valid value"),
    ("a: b: 1", PAIR(str_t, float_t), "Dict level not consistent"), ("a:1,a:2", PAIR(str_t, int_t), "Duplicate key `"),
    ("__import__('os').getcwd()", float_t, "Not a valid value")])
def test_other_values_are_refused(text, dtype, message):
    with pytest.raises(InvalidArgumentError, match=rf"{message}(.|\n)*option `K` in section `S`"):
        _cast_val("S", "K", text, dtype)
    with pytest.raises(InvalidArgumentError, match=message):
        _get_val(parsed(f"[S]\nK={text}\n"), "S", "K", dtype)


def test_casts():
    assert _cast_val("S", "K", "text") == "text" and _cast_val("S", "K", "-3", int_t) == -3


def test_checks():
    _check(True, "S", "K")
    with pytest.raises(InvalidArgumentError, match=r"Not a valid value\n.*option `K` in section `S`"):
        _check(False, "S", "K")
    with pytest.raises(InvalidArgumentError, match="odd"):
        _check(False, "S", "K", message="odd")


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").touch()
    config = parsed("[S]\nF=a\nD=.\nE=\nN=none\n")
    assert _get_path(config, "S", "F") == str(tmp_path / "a")
    assert _get_path(config, "S", "D", is_dir=True) == str(tmp_path)
    assert _get_path(config, "S", "E", is_dir=True, dpath=str(tmp_path)) == str(tmp_path)
    for option, is_dir, message in (("N", False, "File `none` not found"), ("F", True, "Not a valid dir `a`"),
                                    ("E", False, "Please specify the value")):
        with pytest.raises(InvalidArgumentError, match=f"{message}\n.*option `{option}` in section `S`"):
            _get_path(config, "S", option, is_dir=is_dir)


def test_contexts():
    config = parsed("[ONE]\nDevice_type=gpu\nDevice_ids=3\n[TWO]\nDevice_type=gpu\nDevice_ids=0,1\n"
                    "[NONE]\nDevice_type=\nDevice_ids=\n[CPU]\nDevice_type=cpu\nDevice_ids=0\n"
                    "[ODD]\nDevice_type=tpu\n[CALIBRATION]\nDevice_type=gpu\nDevice_ids=0,1\n")
    cpu, first, third = (torch.device(name) for name in ("cpu", "cuda:0", "cuda:3"))
    assert _get_ctx(config, "ONE") == third
    assert _get_ctx(config, "TWO") == [first, torch.device("cuda:1")]
    assert _get_ctx(config, "NONE") == _get_ctx(config, "CPU", dctx="cuda:0") == cpu
    assert _get_ctx(config, "NONE", dctx=third) == _get_ctx(config, "MISSING", "cuda:3") == third
    assert _get_ctx(config, "NONE", dctx=[first, third]) == [first, third]
    with pytest.raises(InvalidArgumentError, match="Only support `gpu`, `cpu` and null value"):
        _get_ctx(config, "ODD")
    with pytest.raises(InvalidArgumentError, match="`Device_ids` should be an integer in Calibration"):
        _get_ctx(config, "CALIBRATION")


def test_names_of_files():
    assert _load_fname("d/net") == ("d/net.json", "d/net.params")
    assert _load_fname("d/net", suffix="prepare") == ("d/net.prepare.json", "d/net.prepare.params")
    assert _load_fname(Path("net"), "all.quantize", with_ext=True) == (
        "net.all.quantize.json", "net.all.quantize.params", "net.all.quantize.ext")


def test_checkpoints(tmp_path):
    (tmp_path / "a").touch()
    _checkpoint_exist("PREPARE", str(tmp_path / "a"))
    with pytest.raises(InvalidArgumentError, match="Check point of `PREPARE` not found, please move the start point"):
        _checkpoint_exist("PREPARE", tmp_path / "a", tmp_path / "b")


class Run:
    """Stands in for the run of a configuration."""

    def __init__(self, monkeypatch, error: Exception | None = None):
        import mrt_torch.pipeline.run as run
        self.calls, self.error = [], error
        monkeypatch.setattr(run, "run_configuration_file", self)

    def __call__(self, path, overrides=None, progress=None):
        self.calls.append((path, overrides))
        if self.error:
            raise self.error
        return "the summary"


def test_the_command_prints_the_summary(monkeypatch, capsys):
    run = Run(monkeypatch)
    assert main2.main(["a.ini", "--set", "CALIBRATION.Batch=2", "--set", "PREPARE.Dump="]) == 0
    assert run.calls == [("a.ini", {"CALIBRATION.Batch": "2", "PREPARE.Dump": ""})]
    assert capsys.readouterr() == ("the summary\n", "")


@pytest.mark.parametrize("error", [InvalidFileError("what failed", remedy="mend it"), FileNotFoundError("what failed")])
def test_errors_go_to_standard_error(monkeypatch, capsys, error):
    Run(monkeypatch, error)
    assert main2.main(["a.ini"]) == 1
    out, told = capsys.readouterr()
    assert out == "" and told == f"{error}\n"


@pytest.mark.parametrize("arguments, told", [
    ([], "CONFIG.ini"), (["a.ini", "b.ini"], "b.ini"), (["a.ini", "--odd"], "--odd"),
    (["a.ini", "--set", "Batch"], "SECTION.Key=VALUE")])
def test_wrong_usage(capsys, arguments, told):
    assert main2.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_help(capsys):
    assert main2.main(["--help"]) == 0
    assert "CONFIG.ini" in capsys.readouterr().out


def test_the_module_runs(tmp_path, monkeypatch, capsys):
    """``python -m mrt_torch.main2`` with a missing file: status 1, and the message on standard error."""
    monkeypatch.setattr(sys, "argv", ["main2", str(tmp_path / "none.ini")])
    monkeypatch.delitem(sys.modules, "mrt_torch.main2")
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("mrt_torch.main2", run_name="__main__")
    out, told = capsys.readouterr()
    assert stop.value.code == 1 and out == "" and "the configuration cannot be read" in told
