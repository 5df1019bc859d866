"""Every error of the main path: its class, its place, reason and remedy, and that it leaves no file behind.

Oracle: the parts a message must have and the names it must give, listed in ``error_cases``.
"""

from __future__ import annotations

import pytest

pytest.importorskip("click", reason="the cli extra is not installed")
pytest.importorskip("rich", reason="the cli extra is not installed")

from mrt_torch.commands import run_commands
from mrt_torch.errors import MRTError
from mrt_torch.inspection import inspect_model, parse_shapes
from tests.hostile.error_cases import CASES, ErrorCase


def provoke(case: ErrorCase, source, out) -> MRTError:
    with pytest.raises(case.kind) as raised:
        if case.command is None:
            case.provoke(source, out)
        else:
            _, model, *others = case.command(source)
            params = [other for other in others if other.endswith(".params")]
            shapes = [shape for option, shape in zip(others, others[1:]) if option == "--shape"]
            inspect_model(model, *params, shapes=parse_shapes(shapes))
    return raised.value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_where_why_and_remedy(tmp_path, case):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    out.mkdir()
    error = provoke(case, source, out)
    assert type(error) is case.kind
    assert error.what and error.where and error.why and error.remedy
    for part in case.mentions:
        assert part in str(error)
    assert not list(out.iterdir())


@pytest.mark.parametrize("case", [case for case in CASES if case.command], ids=lambda case: case.name)
def test_the_command_prints_it(tmp_path, capsys, case):
    """The message on standard error, status 1, nothing on standard output, and no new file."""
    arguments = case.command(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run_commands(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("mrt-torch: ") and "Traceback" not in printed.err
    for label in ("where", "why", "what to do"):
        assert f"\n  {label}: " in printed.err
    for part in case.mentions:
        assert part in printed.err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_cases_cover_the_documented_errors():
    """Oracle: the errors promised to users."""
    names = {case.name for case in CASES}
    assert {"truncated symbol", "corrupt symbol", "truncated params", "corrupt params", "unknown operators",
            "wrong shape", "missing parameters", "duplicate name", "NaN weights", "calibration before prepare",
            "quantize before calibrate", "a kernel beyond what the runtime sums", "sum beyond 32 bits",
            "NaN in the data", "unsupported PyTorch operators"} <= names
