"""Texts of configuration files that stand for JSON.

Such a file splits its values at ``,`` and ``:``, so that a text may have ``.`` and ``;`` for them:

    {"gn_type"; "channel-wise". "ichannel"; 1. "step"; 4}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from mrt_torch.errors import InvalidArgumentError

# A text in quotes stays as it is, and so does the point of a decimal number.
_ESCAPED = re.compile(r'"(?:[^"\\]|\\.)*"|;|(?<!\d)\.|\.(?!\d)')


def unescape(text: str) -> str:
    """``;`` to ``:`` and ``.`` to ``,``, but for texts in quotes and points between digits."""
    return _ESCAPED.sub(lambda found: {";": ":", ".": ","}.get(found[0], found[0]), text)


def object_of(value: Any, where: str) -> dict[str, Any]:
    """A mapping, or the JSON object that a text stands for, as a dict.

    Raises:
        InvalidArgumentError: neither; ``where`` names it.
    """
    given = _parse(value, where) if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InvalidArgumentError("invalid value: a mapping is expected, or a JSON object", where=where,
                                   why=f"saw {value!r:.200}", remedy='write it as {"gn_type": "layer-wise"}')
    return dict(given)


def names_of(key: Any) -> list[str]:
    """The node names that a key of a configuration stands for: one, a tuple of them, or the text of a JSON list.

    Raises:
        InvalidArgumentError: something else, or no name.
    """
    names = key
    if isinstance(key, str):
        names = _parse(key, "a name of the configuration") if key.startswith("[") and key.endswith("]") else [key]
    if not isinstance(names, (list, tuple, frozenset)) or not names or \
            not all(isinstance(name, str) and name for name in names):
        raise InvalidArgumentError("invalid value: a configuration is for a name, or a tuple of names",
                                   where="a key of the configuration", why=f"saw {key!r:.200}",
                                   remedy='write "conv0", ("conv0", "conv1") or the text ["conv0", "conv1"]')
    return sorted(names) if isinstance(names, frozenset) else list(names)


def _parse(text: str, where: str) -> Any:
    """JSON, as it is or with the escapes undone; no object may have a key twice, no number may be NaN or infinite."""
    reason = ""
    for candidate in dict.fromkeys((text, unescape(text))):
        try:
            return json.loads(candidate, object_pairs_hook=_unique, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            reason = reason or str(error)
    raise InvalidArgumentError("invalid value: a text stands for JSON", where=where,
                               why=f"saw {text!r:.200}: {reason}",
                               remedy='write {"gn_type": "layer-wise"}, or {"gn_type"; "layer-wise"} in a file that '
                                      "splits at ':' and ','")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")
