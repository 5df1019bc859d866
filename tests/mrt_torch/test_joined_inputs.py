"""Joining several inputs. Oracle: torch.cat of the flattened arrays."""

from __future__ import annotations

import pytest
import torch

from mrt_torch import Model
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage
from mrt_torch.joined_inputs import JoinedInputs
from tests.mrt_torch.small_models import prepared

aten = torch.ops.aten
INPUTS = JoinedInputs({"a": (2, 3, 4), "b": (2, 5)})
ARRAYS = {"a": torch.arange(24.0).reshape(2, 3, 4), "b": -torch.arange(10.0).reshape(2, 5)}


def two_inputs() -> Model:
    """relu(a) and b, of three and four axes less the batch."""
    editor = GraphEditor(empty_graph_module())
    a, b = editor.input("in/a", (2, 3, 4)), editor.input("in/b", (2, 5))
    editor.output([editor.call(aten.relu.default, a, name="first"), editor.call(aten.neg.default, b, name="second")])
    editor.module.recompile()
    return Model(editor.module, Stage.SOURCE)


@pytest.mark.parametrize("arrays", [ARRAYS, dict(reversed(ARRAYS.items())), tuple(ARRAYS.values()),
                                    [array.numpy() for array in ARRAYS.values()]], ids=["names", "any order", "tuple",
                                                                                      "numpy"])
def test_join(arrays):
    assert torch.equal(INPUTS.join(arrays), torch.cat([ARRAYS["a"].reshape(2, 12), ARRAYS["b"]], 1))


@pytest.mark.parametrize("arrays, text", [
    ({"a": ARRAYS["a"]}, r"saw \['a'\]"), ({**ARRAYS, "c": ARRAYS["b"]}, "'c'"), ((ARRAYS["a"],), "saw 1"),
    ({"a": ARRAYS["a"], "b": ARRAYS["b"][:, :4]}, r"input 'b'\n.*saw \(2, 4\), expected \(N, 5\)"),
    ({"a": ARRAYS["a"], "b": ARRAYS["b"][:1]}, "differ in their batch"),
    ({"a": ARRAYS["a"], "b": torch.tensor(1.0)}, r"saw \(\)"),
    ({"a": ARRAYS["a"], "b": ARRAYS["b"][:0]}, "wrong shape"),
    ({"a": ARRAYS["a"], "b": [1, 2]}, "saw list")])
def test_what_does_not_fit_is_refused(arrays, text):
    with pytest.raises(InvalidArgumentError, match=text):
        INPUTS.join(arrays)


def test_names_are_those_of_the_user():
    model = two_inputs()
    assert model.joined is None
    model.prepare({"in/a": (3, 3, 4), "in/b": (3, 5)})
    assert model.input_names() == ["data"] and dict(model.joined.shapes) == {"in/a": (3, 3, 4), "in/b": (3, 5)}
    first, second = model({"in/b": ARRAYS["b"], "in/a": ARRAYS["a"]})
    assert torch.equal(first, ARRAYS["a"].relu()) and torch.equal(second, -ARRAYS["b"])
    model.prepare({"data": (7, 17)})  # again, for another batch
    assert torch.equal(model(*ARRAYS.values())[1], second)
    with pytest.raises(InvalidArgumentError, match="in/b"):
        model(ARRAYS["a"], ARRAYS["b"], ARRAYS["b"])


def test_halves_and_merged_models_keep_the_inputs_they_have():
    model = two_inputs()
    model.prepare()
    base, top = model.split(["first", "second"])
    assert base.joined == model.joined and top.joined is None
    mrt = base.get_mrt()
    mrt.set_data({"in/a": ARRAYS["a"], "in/b": ARRAYS["b"]})
    mrt.calibrate()
    merged = Model.merger(mrt.quantize(), top, mrt.get_maps()).merge()
    assert merged.joined == model.joined
    assert torch.allclose(merged(*ARRAYS.values())[1], -ARRAYS["b"], atol=0.51 * 23 / 127)


def test_a_model_of_one_input_has_none():
    model = prepared()
    assert model.joined is None
    with pytest.raises(InvalidArgumentError, match="no joined inputs"):
        model.join_inputs({"data": torch.zeros(1)})
    with pytest.raises(InvalidArgumentError, match="saw dict"):
        model({"data": torch.zeros(1, 3, 6, 6)})


@pytest.mark.parametrize("value", [5, [], {"a": 5}, {"a": [2, 3]}, {"a": [], "b": [2, 17]},
                                   {"a": [2, "x"], "b": [2, 5]}, {"a": [2, 3, -4], "b": [2, 29]},
                                   {"a": [2, 12.0], "b": [2, 5]}], ids=repr)
def test_a_damaged_record_is_refused(value):
    model = two_inputs()
    model.prepare()
    assert JoinedInputs.from_json(model.joined.to_json(), model.module, "file") == model.joined
    assert JoinedInputs.from_json(None, model.module, "file") is None
    with pytest.raises(InvalidFileError, match="where: file"):
        JoinedInputs.from_json(value, model.module, "file")
