"""Transformers by ATen target, and the decorators that register them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from torch import fx

from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.facts import describe
from mrt_torch.ops.transformer import OPTIONAL_PASSES, PASSES, Transformer


class TransformerTable:
    """One Transformer per target; iterate it to list what the float stage supports."""

    def __init__(self):
        self._by_target: dict[Any, Transformer] = {}

    def register(self, transformer: Transformer, *targets: Any, override: bool = False) -> None:
        for target in targets:
            if target in self._by_target and not override:
                raise InvalidArgumentError(
                    f"{target} has a Transformer already: {type(self._by_target[target]).__name__}",
                    remedy="pass override=True to register_transformer to replace it")
            self._by_target[target] = transformer

    def unregister(self, target: Any) -> None:
        del self._by_target[target]

    def __contains__(self, target: object) -> bool:
        return target in self._by_target

    def __getitem__(self, target: Any) -> Transformer:
        return self._by_target[target]

    def __iter__(self) -> Iterator[tuple[Any, Transformer]]:
        return iter(self._by_target.items())

    def of_node(self, node: fx.Node) -> Transformer:
        """The Transformer of a node.

        Raises:
            UnsupportedOperatorError: none is registered for the node's target.
        """
        key = node.target if node.op == "call_function" else node.op
        if key not in self._by_target:
            raise UnsupportedOperatorError(
                f"no Transformer is registered for {key}", where=describe(node), why=self.nearest(key),
                remedy="register one with mrt_torch.ops.register_transformer, or split the model before this node")
        return self._by_target[key]

    def nearest(self, target: Any) -> str | None:
        """A sentence that names the supported target whose name is closest."""
        names = {str(known): known for known in self._by_target}
        close = difflib.get_close_matches(str(target), names, n=1, cutoff=0.4)
        return f"the nearest supported operator is {close[0]}" if close else None


TRANSFORMERS = TransformerTable()


def register_transformer(*targets: Any, override: bool = False) -> Callable[[type[Transformer]], type[Transformer]]:
    """Class decorator: make a Transformer responsible for ATen targets (or the node kinds placeholder, get_attr).

    Raises:
        InvalidArgumentError: a target is taken and ``override`` is False.
    """
    def decorate(cls: type[Transformer]) -> type[Transformer]:
        if not (isinstance(cls, type) and issubclass(cls, Transformer)):
            raise InvalidArgumentError("register_transformer decorates subclasses of Transformer", why=f"saw {cls!r}",
                                       remedy="derive the class from mrt_torch.ops.Transformer")
        TRANSFORMERS.register(cls(), *targets, override=override)
        return cls
    return decorate


def register_pass(*names: str) -> Callable[[type[Transformer]], type[Transformer]]:
    """Class decorator: the base class's behaviour is right for these passes of the operator.

    A pass that is neither overridden nor registered is refused by ``apply_pass`` for that operator.
    """
    known = (*PASSES, *OPTIONAL_PASSES)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InvalidArgumentError(f"unknown passes {unknown}", remedy=f"the passes are {', '.join(known)}")

    def decorate(cls: type[Transformer]) -> type[Transformer]:
        cls.registered_passes = cls.registered_passes | frozenset(names)
        return cls
    return decorate


def apply_pass(name: str, node: fx.Node, **context: Any) -> Any:
    """Call a pass of the node's Transformer.

    Raises:
        UnsupportedOperatorError: the operator has no Transformer, or its Transformer lacks the pass.
    """
    transformer = TRANSFORMERS.of_node(node)
    if not transformer.has_pass(name):
        raise UnsupportedOperatorError(
            f"{type(transformer).__name__} does not support the pass '{name}'", where=describe(node),
            remedy=f"override {name} in the class, or decorate it with register_pass('{name}')")
    return getattr(transformer, name)(node, **context)
