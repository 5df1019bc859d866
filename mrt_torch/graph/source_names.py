"""Names of the nodes of a captured graph, from the paths of the user's modules."""

from __future__ import annotations

import os
import re

import torch
from torch import fx

from mrt_torch.graph.editor import sanitise
from mrt_torch.graph.facts import facts_of, set_facts
from mrt_torch.graph.source_call import Value

_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep


def operator_name(target: object) -> str:
    """``relu`` for ``aten.relu_.default``."""
    schema = getattr(target, "_schema", None)
    name = schema.name.split("::")[-1] if schema is not None else getattr(target, "__name__", str(target))
    return name.strip("_") or name


def user_frames(stack_trace: str) -> str:
    """A stack trace up to the last line outside torch, where the user's own code called the operator.

    The trace of a module that consists of torch's own layers alone stays whole.
    """
    frames = re.split(r"(?m)^(?=\s*File \")", stack_trace)
    own = [position for position, frame in enumerate(frames) if "File " in frame and f'File "{_TORCH}' not in frame]
    return "".join(frames[:own[-1] + 1]) if own else stack_trace


class SourceNames:
    """Gives a layer's node the path of the layer (``features.0``), other nodes their module's path and operator."""

    def __init__(self):
        self._taken: set[str] = set()

    def annotate(self, node: fx.Node) -> None:
        """Give a node of the exported program its source facts, which new nodes inherit from it."""
        if node.meta.get("stack_trace"):
            node.meta["stack_trace"] = user_frames(node.meta["stack_trace"])
        set_facts(node, source_name=self._unique(self._path(node)), source_operator=str(node.target))

    def _path(self, node: fx.Node) -> str:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path, kind = stack[-1] if stack else ("", "")
        name = operator_name(node.target)
        kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        if path and kind.startswith("torch.nn.modules."):
            return path
        return f"{path}.{name}" if path else name

    def _unique(self, name: str) -> str:
        unique, counter = name, 1
        while unique in self._taken:
            unique, counter = f"{name}_{counter}", counter + 1
        self._taken.add(unique)
        return unique

    @staticmethod
    def apply(node: fx.Node, value: Value, created: list[fx.Node]) -> None:
        """Name the new node that holds the result after its source; the steps towards it after the operator."""
        if isinstance(value, fx.Node) and value in created:
            value._rename(sanitise(facts_of(node).source_name))
