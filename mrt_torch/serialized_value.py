"""Small values that JSON can hold as ``[name, value, ...]``, and registries that read them back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.named_classes import NamedClasses


def finite_number(value: float, what: str) -> float:
    """``value`` as a float.

    Raises:
        InvalidArgumentError: it is no number, or not finite; ``what`` names it.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidArgumentError(f"{what} is a number", why=f"saw {value!r}",
                                   remedy="pass an int or a float") from error
    if not math.isfinite(number):
        raise InvalidArgumentError(f"{what} is a finite number", why=f"saw {value}",
                                   remedy="look for NaN or infinity where it comes from")
    return number


class SerializedValue:
    """Immutable value, equal to another of its class when their lists are."""

    #: First element of the list.
    name: ClassVar[str]

    def serialize(self) -> list:
        """``[name, value, ...]``."""
        raise TypeError(f"{type(self).__name__} does not define serialize")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.serialize() == self.serialize()

    def __hash__(self) -> int:
        return hash(repr(self.serialize()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.serialize()[1:]))})"


class ValueRegistry(NamedClasses):
    """Classes of one kind of value by name; users add their own with ``register``."""

    def read(self, serialized: Sequence) -> Any:
        """The value a serialized list stands for.

        Raises:
            InvalidArgumentError: no such list, an unknown name, or values its class refuses.
        """
        if not isinstance(serialized, (list, tuple)) or not serialized or not isinstance(serialized[0], str):
            raise InvalidArgumentError(f"a serialized {self.kind} is a list that starts with its name",
                                       why=f"saw {serialized!r}",
                                       remedy="pass what serialize returned")
        name, *values = serialized
        if name not in self:
            raise InvalidArgumentError(f"no {self.kind} is called '{name}'",
                                       remedy=f"known are {', '.join(self)}")
        try:
            return self[name](*values)
        except TypeError as error:
            raise InvalidArgumentError(f"the {self.kind} '{name}' takes other values",
                                       why=f"saw {values!r}: {error}",
                                       remedy="pass what serialize returned") from error
