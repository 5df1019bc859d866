"""Registering Transformers, and what a class that lacks a pass says."""

from __future__ import annotations

import inspect

import pytest
import torch

from mrt_torch import ops
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor
from mrt_torch.ops import TRANSFORMERS, Transformer, apply_pass, register_pass, register_transformer
from mrt_torch.ops.transformer import PASSES
from mrt_torch.quantization.context import Quantized
from tests.mrt_torch.ops.graphs import aten, draw, graph, integer_model, operators, unary

SOFTSIGN = aten.sgn.default


def node_of(module):
    return next(n for n in module.graph.nodes if n.op == "call_function")


@pytest.fixture
def registered():
    """Registers a class for the duration of a test."""
    targets = []

    def register(cls, target=SOFTSIGN, **options):
        targets.append((target, TRANSFORMERS[target] if target in TRANSFORMERS else None))
        return register_transformer(target, **options)(cls)

    yield register
    for target, before in reversed(targets):
        if before is None:
            TRANSFORMERS.unregister(target)
        else:
            TRANSFORMERS.register(before, target, override=True)


def test_a_class_of_the_user_quantizes(registered):
    """MRT Operator API: sign(x) = clip(x, -1, 1) on integers. Oracle: torch's sign."""
    @register_pass("validate", "rewrite", "fuse_transpose")
    class Sign(Transformer):
        op_name = "sign"

        def quantize(self, op, *, context, **keywords):
            node, _ = context.value(op.args[0])
            return Quantized(context.call("clip", node, a_min=-1, a_max=1), 1.0)

    registered(Sign)
    x = draw(2, 3, 4)
    model = integer_model(unary(SOFTSIGN, shape=x.shape), x)
    assert torch.equal(model(x), model.seen(x).sign())
    assert operators(model.module) == ["clip"]


def test_a_target_is_taken_once(registered):
    class Relu(Transformer):
        pass

    with pytest.raises(InvalidArgumentError, match="has a Transformer already: Relu"):
        register_transformer(aten.relu.default)(Relu)
    registered(Relu, aten.relu.default, override=True)
    assert isinstance(TRANSFORMERS[aten.relu.default], Relu)


def test_only_transformers_register():
    with pytest.raises(InvalidArgumentError, match="decorates subclasses of Transformer"):
        register_transformer(SOFTSIGN)(dict)
    with pytest.raises(InvalidArgumentError, match=r"unknown passes \['rewind'\]"):
        register_pass("rewind")


def test_an_unknown_operator_names_the_nearest():
    with pytest.raises(UnsupportedOperatorError, match="no Transformer is registered for aten.erfinv") as error:
        apply_pass("validate", node_of(unary(aten.erfinv.default)))
    assert error.value.why == "the nearest supported operator is aten.erf.default"


def test_a_pass_that_is_missing_is_refused(registered):
    registered(type("Bare", (Transformer,), {}))
    for name in PASSES:
        with pytest.raises(UnsupportedOperatorError, match=f"Bare does not support the pass '{name}'"):
            apply_pass(name, node_of(unary(SOFTSIGN)))


def test_an_operator_without_integer_form_says_so():
    """Operators that rewrite removes have none."""
    module = unary(aten.leaky_relu.default)
    with pytest.raises(UnsupportedOperatorError, match="LeakyReLU has no integer form"):
        TRANSFORMERS[aten.leaky_relu.default].quantize(node_of(module), context=None)


@pytest.mark.parametrize("target", [target for target, _ in TRANSFORMERS if getattr(target, "namespace", "") == "aten"],
                         ids=str)
def test_every_operator_of_the_float_stage_has_the_float_passes(target):
    """validate and rewrite run on every node; operations are counted for every node (mrt-core 8, columns V, R, O)."""
    transformer = TRANSFORMERS[target]
    for name in ("validate", "rewrite", "fuse_transpose", "calculate_ops"):
        assert transformer.has_pass(name), name


def test_all_classes_are_exported():
    classes = {type(transformer).__name__ for _, transformer in TRANSFORMERS}
    assert classes <= set(ops.__all__)
    assert all(inspect.getdoc(type(transformer)) for _, transformer in TRANSFORMERS)


def test_nodes_that_replace_keep_the_source_name():
    module = graph(lambda e, x: e.call(aten.leaky_relu.default, x, 0.1, name="features/act"), (2, 3))
    node = node_of(module)
    with GraphEditor(module).before(node) as editor:
        replacement = apply_pass("rewrite", node, editor=editor)
    assert replacement.meta["mrt"].source_name == "features/act"
