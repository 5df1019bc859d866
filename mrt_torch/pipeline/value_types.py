"""Types of the values of a configuration, written as MRT does: ``_int_``, ``[_int_]``, ``{_str_:_float_}``."""

from __future__ import annotations

STR, INT, BOOL, TUPLE, FLOAT = "_str_", "_int_", "_bool_", "_tuple_", "_float_"
#: Not of the original: a file or folder; ``cpu`` or ``gpu``; the text of a JSON value.
PATH, DEVICE, JSON = "_path_", "_device_", "_json_"


def ARRAY(dtype: str) -> str:
    """The type of a list of values of one type.

    >>> ARRAY(INT)
    '[_int_]'
    """
    return f"[{dtype}]"


def PAIR(*dtypes: str) -> str:
    """The type of a map of as many levels as there are types but one; the last is that of its values.

    >>> PAIR(STR, FLOAT)
    '{_str_:_float_}'
    """
    return "{" + ":".join(dtypes) + "}"


def element_of(dtype: str) -> str | None:
    """The type of the elements of a list; None where it is no list."""
    return dtype[1:-1] if dtype.startswith("[") and dtype.endswith("]") else None


def levels_of(dtype: str) -> list[str] | None:
    """The types of the levels of a map; None where it is no map."""
    return dtype[1:-1].split(":") if dtype.startswith("{") and dtype.endswith("}") and ":" in dtype else None


def described(dtype: str) -> str:
    """A type for readers: ``list of int``, ``map str: float``."""
    element, levels = element_of(dtype), levels_of(dtype)
    if element is not None:
        return f"list of {described(element)}"
    if levels is not None:
        return f"map {': '.join(map(described, levels))}"
    return dtype.strip("_")
