"""The command ``ops``."""

from __future__ import annotations

from mrt_torch.operator_table import markdown, operator_rows
from tests.mrt_torch.commands.calling import call, call_json


def test_it_lists_every_operator(capsys):
    """Oracle: the registry's rows; the page is printed as it stands in the documentation."""
    assert [row["name"] for row in call_json(capsys, "ops")] == [row.name for row in operator_rows()]
    status, output, _ = call(capsys, "ops", "--markdown")
    assert status == 0 and output == markdown()
    status, output, _ = call(capsys, "ops")
    assert status == 0 and "Convolution" in output and "conv2d" in output
