"""What all commands have in common: their help, their status, and how they end early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
import pytest

from mrt_torch import commands
from mrt_torch.commands import commands as group
from tests.mrt_torch.commands.calling import call, misused, refused

NAMES = ("demo", "inspect", "prepare", "calibrate", "quantize", "evaluate", "export", "verify", "run", "ops")
TAKING_A_MODEL = [("inspect",), ("prepare", "--output", "net"), ("export", "--to", "cvm", "--output", "net"),
                  ("verify",)]


def test_help_names_the_commands(capsys):
    """Oracle: the documented commands."""
    status, output, _ = call(capsys, "--help")
    assert status == 0
    assert tuple(group.commands) == NAMES
    assert all(name in output for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_an_example_and_json(capsys, name):
    """Oracle: a line of the help that begins as one would type it."""
    status, output, _ = call(capsys, name, "--help")
    assert status == 0
    assert f"\n    mrt-torch {name}" in output and "Examples:" in output
    assert "--json" in output


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_option_is_wrong_usage(capsys, name):
    """Oracle: the convention that wrong usage is status 2."""
    assert "--nothing" in misused(capsys, name, "--nothing")


def test_an_unknown_command_is_wrong_usage(capsys):
    """Oracle: the same."""
    assert "abacus" in misused(capsys, "abacus")


@pytest.mark.parametrize("arguments", [*TAKING_A_MODEL, ("run",)], ids=" ".join)
def test_a_missing_file_is_wrong_usage(capsys, tmp_path, arguments):
    """Oracle: the same."""
    assert "none-symbol.json" in misused(capsys, *arguments, tmp_path / "none-symbol.json").replace("\n", "")


@pytest.mark.parametrize("arguments", TAKING_A_MODEL, ids=" ".join)
def test_an_error_of_the_library_is_a_message(capsys, tmp_path, arguments):
    """Oracle: the error's own text with the file, on standard error, without a traceback."""
    path = tmp_path / "broken-symbol.json"
    path.write_text("{")
    (tmp_path / "broken-0000.params").write_bytes(b"")
    assert str(path) in refused(capsys, *arguments, path)


@pytest.mark.parametrize(("error", "words"), [(KeyboardInterrupt(), "interrupted"), (OSError("no space"), "no space")])
def test_an_end_from_outside_is_a_message(capsys, monkeypatch, error, words):
    """Oracle: status 1 and a line on standard error."""
    def fail(*_args, **_options):
        raise error
    monkeypatch.setattr(sys.modules["mrt_torch.commands.demo"], "run_demo", fail)
    status, output, errors = call(capsys, "demo")
    assert (status, output) == (1, "")
    assert words in errors and "Traceback" not in errors


def test_the_interrupt_key_ends_a_real_process(tmp_path):
    """Oracle: a signal to a process that waits for the rest of its configuration file.

    The handler is Python's own, also where this process was started in the background, which ignores the key.
    """
    pipe = tmp_path / "net.ini"
    os.mkfifo(pipe)
    process = subprocess.Popen([sys.executable, "-c", "import signal, sys; from mrt_torch.cli import main\n"
                                "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
                                "import mrt_torch.commands; print('ready', flush=True); main(sys.argv[1:])",
                                "inspect", pipe, pipe], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        with open(pipe, "w"):  # opens when the command reads it
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert errors.strip() == "interrupted"


@pytest.mark.parametrize("arguments", [("ops",), ("ops", "--json")], ids=" ".join)
def test_a_reader_that_has_enough_gets_no_message(arguments):
    """Oracle: nothing on standard error, as of any tool before ``head``."""
    process = subprocess.Popen([sys.executable, "-m", "mrt_torch", *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(60)


def test_verbose_logs_the_passes(capsys, monkeypatch):
    """Oracle: the level that the option asks of logging."""
    levels = []
    monkeypatch.setattr(commands.logging, "basicConfig", lambda level, format: levels.append(level))
    for option in ((), ("-v",)):
        call(capsys, *option, "ops", "--json")
    assert levels == [commands.logging.WARNING, commands.logging.INFO]


def test_the_shell_completes_commands():
    """Oracle: click's protocol for bash."""
    done = subprocess.run([sys.executable, "-c", "from mrt_torch.cli import main; main()"], capture_output=True,
                          text=True, env={**os.environ, "_MRT_TORCH_COMPLETE": "bash_complete", "COMP_CWORD": "1",
                                          "COMP_WORDS": "mrt-torch ev"})
    assert done.stdout == "plain,evaluate\n"


def test_commands_are_not_named_like_their_files():
    """A function called like its module would hide it: oracle, the types of the attributes."""
    for name in NAMES:
        assert not isinstance(getattr(commands, name), click.Command)
