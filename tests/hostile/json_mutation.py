"""Structure-level damage of JSON: the text stays JSON, its types, indices, names and values do not stay right."""

from __future__ import annotations

import copy
import json
import re
from random import Random
from typing import Any

INTEGERS = (-1, 0, 1, 2, 3, 7, 127, 2 ** 31 - 1, 2 ** 31, -2 ** 31, 2 ** 32, 2 ** 53 + 1, 2 ** 63 - 1, 2 ** 63,
            -2 ** 63, 10 ** 19, 10 ** 30, 10 ** 400)
NUMBERS = (0.5, -0.0, 1e-320, 1e308, -1e308, float("nan"), float("inf"))
TEXTS = ("", " ", "null", "None", "True", "false", "0", "1", "-1", "2", "(1, 1)", "(2, 2)", "()", "(0, 0)", "(-1, -1)",
         "[1]", "(1, 1, 1)", "(3,)", "(0, -1)", "(-2,)", "(-3, -3)", "(-4, 2, -1)", "1e999", "-inf", "nan", "1e-300",
         "0.5", "1e38", "2147483647", "(2147483647, 2147483647)", "4294967296", "9223372036854775807",
         "99999999999999999999", "(9223372036854775807, 9223372036854775807)", "(1000000, 1000000, 1000000)",
         "1000000000", "9" * 3000, "x" * 600, "(" * 300, "a\0b", "\ud800", "ä", "data", "softmax", "relu", "int32",
         "float32", "self", "forward", "torch", "class", "__class__", "__debug__", "a.b", "a b", "a-b", "import os",
         "nan" * 40)
SETTINGS = TEXTS[:TEXTS.index("9" * 3000)]  # as operators have them
SETTING = re.compile(r"[-+]?[\d.]|[(\[]|True|False|None|\{\"")
NUMBER = re.compile(r"[-+]?\d+")
PIECES = ("9", "-", ",", "(", "0", " ", "_1", "\x01")
CONTAINERS = ([], {}, [[]], [None], {"": None}, [0, 0], [0, 0, 0], ["int", 1], {"a": {"b": []}}, list(range(40)))
DEEP = (2, 40)
DEEPEST = 3000
ABYSS = "nested more deeply than json writes"  # stands for it until the text is written


def mutate_json(text: str, random: Random, texts: tuple[str, ...] = ()) -> str:
    """The text of a JSON document after one to three changes of its structure.

    ``texts`` are words of the format, to stand among the values that replace others.
    """
    document = json.loads(text)
    for _ in range(random.choice((1, 1, 2, 3))):
        document = mutate_value(document, random, TEXTS + texts)
    return json.dumps(document).replace(f'"{ABYSS}"', "[" * DEEPEST + "]" * DEEPEST)


def mutate_value(document: Any, random: Random, texts: tuple[str, ...]) -> Any:
    """A JSON value, changed in place, or what stands in its place."""
    holder = [document]
    places = _places(holder)
    leaves = [(parent, key) for parent, key in places if not isinstance(parent[key], (list, dict))]
    settings = [(parent, key) for parent, key in leaves if isinstance(parent[key], str) and SETTING.match(parent[key])]
    if settings and random.random() < 0.4:
        parent, key = random.choice(settings)
        parent[key] = _other_setting(parent[key], random)
    else:
        parent, key = random.choice(leaves if leaves and random.random() < 0.6 else places)
        random.choice(CHANGES)(parent, key, random, places, texts)
    return holder[0] if holder else None


def _places(holder: list) -> list[tuple[Any, Any]]:
    found, pending = [], [holder]
    while pending:
        parent = pending.pop()
        for key in parent if isinstance(parent, dict) else range(len(parent)):
            found.append((parent, key))
            if isinstance(parent[key], (dict, list)):
                pending.append(parent[key])
    return found


def _near(parent: Any, key: Any, random: Random, places: list, texts: tuple[str, ...]) -> None:
    """A value of the same type: a neighbouring or extreme integer, another word, part of a list."""
    value = parent[key]
    if isinstance(value, bool) or value is None:
        parent[key] = random.choice((True, False, None))
    elif isinstance(value, int):
        parent[key] = random.choice((value + 1, value - 1, -value, 2 * value, random.choice(INTEGERS)))
    elif isinstance(value, float):
        parent[key] = random.choice((-value, value * 1e30, value * 1e-30, random.choice(NUMBERS)))
    elif isinstance(value, str):
        parent[key] = _other_text(value, random, texts)
    elif isinstance(value, list) and value:
        part = random.randrange(len(value))
        parent[key] = random.choice((value[:part], value[part:], value[::-1], value + value, value + [value[part]],
                                     value * random.choice((3, 50))))
    elif isinstance(value, dict) and value:
        name = random.choice(list(value))
        value[random.choice((f"{name}_", name.upper(), random.choice(texts)))] = value.pop(name)


def _other_text(value: str, random: Random, texts: tuple[str, ...]) -> str:
    if value.startswith("{") and random.random() < 0.8:  # JSON inside JSON, as CVM symbols have it
        try:
            return json.dumps(mutate_value(json.loads(value), random, texts))
        except ValueError:
            pass
    position = random.randint(0, len(value))
    return random.choice((random.choice(texts), random.choice(texts), value[:position], value[position:],
                          value[:position] + random.choice(PIECES) + value[position:], value + value))


def _other_setting(value: str, random: Random) -> str:
    """Another value of an operator's setting that is written as text: a number in it changes, or all of it."""
    if value.startswith("{"):
        return json.dumps(mutate_value(json.loads(value), random, TEXTS))
    numbers = list(NUMBER.finditer(value))
    if not numbers or random.random() < 0.3:
        return random.choice(SETTINGS)
    found = random.choice(numbers)
    number = int(found.group())
    other = random.choice((number + 1, number - 1, -number, 0, 1, 2 * number, *INTEGERS[:-1]))
    return f"{value[:found.start()]}{other}{value[found.end():]}"


def _type(parent: Any, key: Any, random: Random, places: list, texts: tuple[str, ...]) -> None:
    """A value of any type."""
    parent[key] = copy.deepcopy(random.choice((
        None, True, random.choice(INTEGERS), random.choice(NUMBERS), random.choice(texts), random.choice(CONTAINERS))))


def _delete(parent: Any, key: Any, random: Random, places: list, texts: tuple[str, ...]) -> None:
    del parent[key]


def _copy(parent: Any, key: Any, random: Random, places: list, texts: tuple[str, ...]) -> None:
    """A value stands twice, or where another stood."""
    if isinstance(parent, list) and random.random() < 0.5:
        parent.insert(key, copy.deepcopy(parent[key]))
        return
    source, name = random.choice(places)
    parent[key] = copy.deepcopy(source[name])


def _swap(parent: Any, key: Any, random: Random, places: list, texts: tuple[str, ...]) -> None:
    """Two siblings change places."""
    other = random.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    parent[key], parent[other] = parent[other], parent[key]


def _nest(parent: Any, key: Any, random: Random, places: list, texts: tuple[str, ...]) -> None:
    """A value moves into lists or objects."""
    value = parent[key]
    for _ in range(random.choice(DEEP)):
        value = [value]
    parent[key] = random.choice((value, {"a": parent[key]}, ABYSS))


CHANGES = (_near, _near, _near, _type, _type, _delete, _copy, _swap, _nest)
