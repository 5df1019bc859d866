"""An operator of the user, added without touching the library. Oracles: the float operator, and deployed files."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mrt_torch import Model
from mrt_torch.errors import InvalidFileError, UnsupportedOperatorError
from mrt_torch.graph.source_call import canonical_form
from mrt_torch.ops import Activation, Transformer, register_pass, register_transformer
from mrt_torch.quantization import Quantized
from tests.end_to_end.following import check_deployed, check_values, follow

aten = torch.ops.aten
DATA = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(0))


@torch.library.custom_op("mrt_extension::squared_relu", mutates_args=())
def squared_relu(x: torch.Tensor) -> torch.Tensor:
    """max(x, 0)**2."""
    return x.relu() ** 2


@squared_relu.register_fake
def _(x):
    return torch.empty_like(x)


class Network(nn.Module):
    """A convolution and one function."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.function = nn.Conv1d(3, 4, 3), function

    def forward(self, x):
        return self.function(self.convolution(x))


def load(function) -> tuple[Model, list[torch.Tensor]]:
    """A network with the function, and its outputs."""
    module = Network(function).eval()
    with torch.no_grad():
        return Model.from_torch(module, DATA[:1]), [module(DATA)]


def register_squared_relu():
    """As a user writes it: 15-bit operands, so that the product fits 31 bits and may be shifted."""
    @register_pass("validate", "rewrite", "fuse_transpose", "calculate_ops")
    @register_transformer(torch.ops.mrt_extension.squared_relu.default)
    class SquaredRelu(Transformer):
        op_name = "squared_relu"
        cvm_operators = ("relu", "broadcast_mul")

        def quantize(self, op, *, context, **keywords):
            node, scale = context.requantize(op.args[0], 15)
            positive = context.call("relu", node)
            return Quantized(context.call("broadcast_mul", positive, positive), scale * scale)


def test_a_custom_operator_goes_the_whole_way(tmp_path):
    with pytest.raises(UnsupportedOperatorError, match="mrt_extension.squared_relu.default, once"):
        load(squared_relu)[0].prepare()
    register_squared_relu()
    model, expected = load(squared_relu)
    followed = follow(model, None, DATA, tmp_path)
    check_values(followed, expected)
    assert followed.operators()[-2:] == ["relu", "broadcast_mul"]
    check_deployed(followed)


def test_its_graph_is_saved_and_loaded_while_it_is_registered(tmp_path):
    """Targets are looked up by name in a closed set, which the registration widens."""
    files = tmp_path / "m.json", tmp_path / "m.safetensors"
    register_squared_relu()
    model, expected = load(squared_relu)
    model.prepare()
    model.save(*files)
    assert torch.equal(Model.load(*files)(DATA), expected[0])


def test_its_saved_graph_is_refused_where_it_is_not(tmp_path):
    """The registration of the other test is gone."""
    test_its_graph_is_saved_and_loaded_while_it_is_registered(tmp_path)
    from mrt_torch.ops import TRANSFORMERS
    TRANSFORMERS.unregister(torch.ops.mrt_extension.squared_relu.default)
    with pytest.raises(InvalidFileError, match="squared_relu"):
        Model.load(tmp_path / "m.json", tmp_path / "m.safetensors")


def test_a_function_by_table_is_a_name_and_a_formula(tmp_path):
    """sin(pi x) / (pi x), which the library refuses. Its input precision is a setting like those of the library."""
    model, expected = load(torch.sinc)
    with pytest.raises(UnsupportedOperatorError, match="aten.sinc.default"):
        model.prepare()

    @register_transformer(aten.sinc.default)
    class Sinc(Activation):
        op_name = "sinc"
        function = staticmethod(torch.sinc)

    followed = follow(model, None, DATA, tmp_path)
    check_values(followed, expected)
    check_deployed(followed)
    assert followed.operators()[-2:] == ["broadcast_add", "cvm_lut"]
    followed.mrt.set_op_input_prec("sinc", 6)
    (table,) = (b for name, b in followed.mrt.quantize().module.named_buffers() if name.endswith("_table"))
    assert table.shape == (2 ** 6 - 1, 1)


def test_a_rewrite_into_operators_of_the_library(tmp_path):
    """Radians in degrees: a factor."""
    @register_pass("validate", "fuse_transpose", "calculate_ops")
    @register_transformer(aten.rad2deg.default)
    class Degrees(Transformer):
        op_name = "degrees"

        def rewrite(self, op, *, editor, **context):
            return editor.call(aten.mul.Scalar, op.args[0], 180 / math.pi)

    model, expected = load(torch.rad2deg)
    followed = follow(model, None, DATA, tmp_path)
    check_values(followed, expected)
    check_deployed(followed)


def test_an_operator_of_the_library_is_replaced(tmp_path):
    """relu capped where the user's hardware saturates. Oracle: torch's clamp."""
    @register_pass("validate", "fuse_transpose", "calculate_ops")
    @register_transformer(aten.relu.default, override=True)
    class Capped(Transformer):
        op_name = "relu"

        def rewrite(self, op, *, editor, **context):
            return editor.call(aten.clamp.default, op.args[0], 0.0, 0.5)

    model, expected = load(nn.ReLU())
    followed = follow(model, None, DATA, tmp_path)
    check_values(followed, [expected[0].clamp(max=0.5)])
    assert followed.operators()[-1] == "clip"


def test_a_canonical_form_of_the_capture(tmp_path):
    """lerp, as the library's capture would have it: a + w * (b - a)."""
    @canonical_form("lerp.Scalar")
    def lerp(call):
        start, end = call["self"], call["end"]
        step = call.emit(aten.mul.Scalar, call.emit(aten.sub.Tensor, end, start), call["weight"])
        return call.emit(aten.add.Tensor, start, step)

    model, expected = load(lambda x: torch.lerp(x, x.relu(), 0.25))
    assert "lerp" not in {node.target for node in model.module.graph.nodes}
    followed = follow(model, None, DATA, tmp_path)
    check_values(followed, expected)


def test_registrations_were_undone():
    """The fixture uses the functions a user has for it: none of the operators above is known any more."""
    for function, operator in ((squared_relu, "squared_relu"), (torch.sinc, "sinc"), (torch.rad2deg, "rad2deg"),
                               (lambda x: torch.lerp(x, x.relu(), 0.25), "lerp")):
        with pytest.raises(UnsupportedOperatorError, match=operator):
            load(function)[0].prepare()
