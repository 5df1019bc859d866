"""The entry point of the command line."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

pytest.importorskip("click", reason="the cli extra is not installed")
pytest.importorskip("rich", reason="the cli extra is not installed")

from mrt_torch.cli import main


def test_version_as_a_module():
    """Oracle: the installed metadata; the process is a real one."""
    done = subprocess.run([sys.executable, "-m", "mrt_torch", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"mrt-torch {version('mrt-torch')}\n"


@pytest.mark.parametrize("package", ["click", "rich"])
def test_a_missing_package_names_the_extra(monkeypatch, package):
    """Oracle: the extra in setup.cfg."""
    monkeypatch.delattr("mrt_torch.commands", raising=False)
    for name in list(sys.modules):
        if name == "mrt_torch.commands" or name.startswith("mrt_torch.commands."):
            monkeypatch.delitem(sys.modules, name)
        elif name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert package in str(stop.value.code)
    assert "mrt-torch[cli]" in str(stop.value.code)
