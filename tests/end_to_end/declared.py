"""Holds the operator table to its word: ``quantize`` of a Transformer emits what its ``cvm_operators`` name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch import fx

import mrt_torch.passes.quantize  # noqa: F401  (the module, which its package hides behind the function)
from mrt_torch.cvm import OPERATORS
from mrt_torch.ops import TRANSFORMERS, apply_pass

# Any Transformer may bring its inputs to a precision, a scale or another shape.
EVERYWHERE = {"cvm_right_shift", "broadcast_mul", "broadcast_sub", "cvm_clip", "reshape"}


@contextmanager
def only_declared_operators() -> Iterator[None]:
    """Within the block, quantization fails where a Transformer emits a CVM operator that it does not declare."""
    def watched(name: str, node: fx.Node, **context: Any) -> Any:
        graph = context["context"].editor.graph
        before = set(graph.nodes)
        result = apply_pass(name, node, **context)
        rows = (OPERATORS.of_target(new.target) for new in graph.nodes if new not in before)
        transformer = type(TRANSFORMERS.of_node(node))
        undeclared = {row.name for row in rows if row} - EVERYWHERE - set(transformer.cvm_operators)
        assert not undeclared, f"{transformer.__name__} does not declare {sorted(undeclared)}"
        return result
    with mock.patch.object(sys.modules["mrt_torch.passes.quantize"], "apply_pass", watched):
        yield
