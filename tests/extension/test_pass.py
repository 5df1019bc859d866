"""A whole-graph pass of the user. Oracle: the float model before it, or what the pass is meant to change."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from mrt_torch import Model
from mrt_torch.errors import InvalidGraphError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.graph.runner import run_pass
from tests.end_to_end.following import check_deployed, check_values, follow

aten = torch.ops.aten
DATA = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def uncap(module: fx.GraphModule) -> int:
    """ReLU6 becomes ReLU where the user knows that nothing reaches 6; returns how often."""
    editor, firings = GraphEditor(module), 0
    for node in list(module.graph.nodes):
        if node.target is aten.clamp.default and tuple(node.args[1:]) == (0.0, 6.0):
            with editor.before(node):
                editor.replace(node, editor.call(aten.relu.default, node.args[0]))
            firings += 1
    return firings


def network() -> tuple[Model, torch.Tensor]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.Conv2d(4, 4, 1), nn.ReLU6()).eval()
    with torch.no_grad():
        return Model.from_torch(module, DATA[:1]), module(DATA)


def targets(module: fx.GraphModule) -> list:
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def test_a_pass_of_the_user(tmp_path):
    """It runs on a copy, at any stage before the integers, and its result is a Model like any other."""
    model, expected = network()
    before = targets(model.module)
    result = run_pass(model.module, uncap, model.stage)
    assert result.firings == 2 and targets(model.module) == before
    assert aten.clamp.default not in targets(result.module)
    changed = Model(result.module, model.stage)
    followed = follow(changed, None, DATA, tmp_path)
    check_values(followed, [expected])
    assert "clip" not in followed.operators()
    check_deployed(followed)


def test_a_prepared_model_stays_prepared():
    model, expected = network()
    model.prepare()
    result = run_pass(model.module, uncap, model.stage)
    changed = Model(result.module, model.stage, prepared=True)
    assert torch.allclose(changed(DATA), expected, atol=1e-6)
    assert changed.get_mrt().model is changed


def test_a_pass_that_breaks_the_stage_is_refused():
    """The graph it was given stays whole."""
    def spoil(module: fx.GraphModule) -> int:
        editor = GraphEditor(module)
        node = next(n for n in module.graph.nodes if n.target is aten.clamp.default)
        with editor.before(node):
            editor.replace(node, editor.call(aten.lgamma.default, node.args[0]))
        return 1

    model, expected = network()
    model.prepare()
    with pytest.raises(InvalidGraphError, match="aten.lgamma.default"):
        run_pass(model.module, spoil, model.stage)
    assert torch.allclose(model(DATA), expected, atol=1e-6)
