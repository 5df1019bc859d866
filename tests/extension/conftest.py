"""Leaves the registries as they were: what a test registers is gone after it."""

from __future__ import annotations

import pytest

from bridges.mxnet.registry import CONVERTERS
from mrt_torch.graph.source_call import CANONICAL_FORMS
from mrt_torch.ops import TRANSFORMERS


@pytest.fixture(autouse=True)
def registries():
    """Undoes registrations, through the public functions."""
    transformers, forms, converters = dict(TRANSFORMERS), set(CANONICAL_FORMS), set(CONVERTERS)
    yield
    for target, transformer in list(TRANSFORMERS):
        if target not in transformers:
            TRANSFORMERS.unregister(target)
        elif transformers[target] is not transformer:
            TRANSFORMERS.register(transformers[target], target, override=True)
    for name in set(CANONICAL_FORMS) - forms:
        CANONICAL_FORMS.unregister(name)
    for operator in set(CONVERTERS) - converters:
        CONVERTERS.unregister(operator)
