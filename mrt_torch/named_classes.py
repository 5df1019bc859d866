"""Registries of classes by name, which users extend with a decorator."""

from __future__ import annotations

from mrt_torch.errors import InvalidArgumentError


class NamedClasses(dict[str, type]):
    """Classes of one kind by their ``name``.

    Args:
        kind: what they are, for messages.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def register(self, cls: type) -> type:
        """Class decorator.

        Raises:
            InvalidArgumentError: the name is taken.
        """
        if cls.name in self:
            raise InvalidArgumentError(f"the {self.kind} '{cls.name}' is registered already",
                                       remedy="choose another name")
        self[cls.name] = cls
        return cls
