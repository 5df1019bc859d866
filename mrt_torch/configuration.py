"""Configuration by node: granularity, quantizer and optimizor, as a configuration file or a program gives them.

A configuration maps a name to any of three attributes:

    {"conv0": {"gn_info": {"gn_type": "channel-wise", "ichannel": 1, "step": 4},
               "quant_type": "UniformAffine",
               "opt_info": {"opt_type": "KLDivergence", "bucket_bit": 10}}}

(MRT GEN, ``tfm_pass.deserialize``; the names of the original's files are those of this module's constants.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mrt_torch.calibration.optimizors import OPTIMIZORS  # with all that the library registers
from mrt_torch.configuration_text import names_of, object_of
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.quantization.quantizers import QUANTIZERS

LAYER_WISE, CHANNEL_WISE, GROUP_WISE = "layer-wise", "channel-wise", "group-wise"
#: Keys of each granularity beside gn_type, with their types.
GRANULARITIES: Mapping[str, Mapping[str, type]] = {
    LAYER_WISE: {},
    CHANNEL_WISE: {"ichannel": int, "step": int},
    GROUP_WISE: {"is_weight": bool, "num_groups": int},
}
ATTRIBUTES = ("gn_info", "quant_type", "opt_info")
#: Quantizers that MRT's configuration files call otherwise.
OTHER_NAMES: Mapping[str, str] = {"GroupConvQuant": "GroupConv"}
#: What a node without a configuration has. (MRT GEN)
DEFAULTS: Mapping[str, Any] = {"gn_info": {"gn_type": LAYER_WISE}, "quant_type": "UniformSymmetric",
                               "opt_info": ("HistoricalValue", "lambd", None)}


def deserialize(cfg_groups: Mapping[Any, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The configuration of each name, checked and in one form; reading its own result gives the same again.

    Args:
        cfg_groups: attributes by name, by tuple of names, or by the text of a JSON list of names. ``gn_info`` and
            ``opt_info`` are mappings or the text of a JSON object; outside of quotes such a text may have ``;`` for
            ``:`` and ``.`` for ``,``, which a configuration file splits at. An ``opt_info`` may also be a sequence
            (opt_type, attribute, value, ...).

    Returns:
        by name, the attributes that were given: ``gn_info`` as a dict, ``opt_info`` as the tuple
        (opt_type, attribute, value, ...) of all attributes of the optimizor in its order, so that equal configurations
        are equal. Types are converted: an int where a float is wanted, the text "_NoneType" to None, "True" and
        "False" of ``is_weight``.

    Raises:
        InvalidArgumentError: an attribute given twice for a name; no JSON; then, in this order, an unknown or
            incomplete granularity, an unknown quantizer, an optimizor that is missing, unknown, given an unknown
            attribute or a value of a wrong type or out of bounds, or unable to serve the quantizer.
    """
    collected: dict[str, dict[str, Any]] = {}
    for name, attribute, value in _entries(cfg_groups):
        attributes = collected.setdefault(name, {})
        if attribute not in ATTRIBUTES:
            raise InvalidArgumentError(f"there is no attribute '{attribute}'", where=f"the configuration of '{name}'",
                                       remedy=f"choose from {', '.join(ATTRIBUTES)}")
        if attribute in attributes:
            raise InvalidArgumentError(f"duplicate attribute: '{attribute}' is configured twice for a name",
                                       where=f"the configuration of '{name}'",
                                       why=f"saw {attributes[attribute]!r:.200} and {value!r:.200}",
                                       remedy="keep one of them")
        attributes[attribute] = value
    return {name: _checked(name, attributes) for name, attributes in collected.items()}


def _entries(cfg_groups: Any) -> Iterator[tuple[str, str, Any]]:
    """``(name, attribute, value)`` for all that was given; a name without attributes is none."""
    if not isinstance(cfg_groups, Mapping):
        raise InvalidArgumentError("a configuration is a mapping from node names to attributes",
                                   why=f"saw {type(cfg_groups).__name__}",
                                   remedy='pass {"conv0": {"quant_type": "UniformAffine"}}')
    for key, attributes in cfg_groups.items():
        if not isinstance(attributes, Mapping):
            raise InvalidArgumentError("the attributes of a node are a mapping", where=f"the configuration of {key!r}",
                                       why=f"saw {attributes!r:.200}",
                                       remedy=f"give it {', '.join(ATTRIBUTES)}, or some of them")
        for name in names_of(key):
            for attribute, value in attributes.items():
                yield name, attribute, value


def _checked(name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    where = "{} of '" + name.replace("{", "{{").replace("}", "}}") + "'"
    if "gn_info" in attributes:
        checked["gn_info"] = read_granularity(attributes["gn_info"], where.format("gn_info"))
    if "quant_type" in attributes:
        checked["quant_type"] = read_quantizer(attributes["quant_type"], where.format("quant_type"))
    if "opt_info" in attributes:
        checked["opt_info"] = read_optimizor(attributes["opt_info"], where.format("opt_info"))
        check_served({**DEFAULTS, **checked}, where.format("opt_info"))
    return checked


def read_granularity(value: Any, where: str) -> dict[str, Any]:
    """``gn_info`` checked; ``where`` names it.

    Raises:
        InvalidArgumentError: see ``deserialize``.
    """
    given = object_of(value, where)
    if "gn_type" not in given:
        raise InvalidArgumentError("please specify gn_type", where=where, why=f"saw {given!r:.200}",
                                   remedy=f"choose one of {', '.join(GRANULARITIES)}")
    gn_type = given["gn_type"]
    if not isinstance(gn_type, str) or gn_type not in GRANULARITIES:
        raise InvalidArgumentError("unsupported granularity type", where=where, why=f"saw {gn_type!r:.200}",
                                   remedy=f"choose one of {', '.join(GRANULARITIES)}")
    wanted = GRANULARITIES[gn_type]
    if given.keys() - {"gn_type"} != wanted.keys():
        keys = " and ".join(f"{key} ({kind.__name__})" for key, kind in wanted.items()) or "nothing else"
        raise InvalidArgumentError(f"the granularity '{gn_type}' takes {keys}", where=where,
                                   why=f"saw {sorted(map(str, given.keys() - {'gn_type'}))}",
                                   remedy="add what is missing, and remove the rest")
    return {"gn_type": gn_type, **{key: _of_type(given[key], kind, f"{key}, {where}") for key, kind in wanted.items()}}


def _of_type(value: Any, kind: type, where: str) -> int | bool:
    if kind is bool:
        value = {"True": True, "False": False}.get(value, value) if isinstance(value, str) else value
        expected, fits = "True or False", isinstance(value, bool)
    else:
        expected, fits = "an integer of at least 1", isinstance(value, int) and not isinstance(value, bool)
        fits = fits and value >= 1
    if not fits:
        raise InvalidArgumentError(f"it is {expected}", where=where, why=f"saw {value!r:.200}",
                                   remedy=f"write {expected}")
    return value


def read_quantizer(value: Any, where: str) -> str:
    """``quant_type`` checked; ``where`` names it.

    Raises:
        InvalidArgumentError: no quantizer of that name.
    """
    value = OTHER_NAMES.get(value, value) if isinstance(value, str) else value
    if not isinstance(value, str) or value not in QUANTIZERS:
        raise InvalidArgumentError("unsupported quantizer type", where=where, why=f"saw {value!r:.200}",
                                   remedy=f"choose one of {', '.join(QUANTIZERS)}")
    return value


def read_optimizor(value: Any, where: str) -> tuple:
    """``opt_info`` checked, as (opt_type, attribute, value, ...); ``where`` names it.

    Raises:
        InvalidArgumentError: see ``deserialize``.
    """
    given = dict(_pairs(value, where)) if isinstance(value, (list, tuple)) else object_of(value, where)
    if "opt_type" not in given:
        raise InvalidArgumentError("please specify opt_type", where=where, why=f"saw {given!r:.200}",
                                   remedy=f"choose one of {', '.join(OPTIMIZORS)}")
    opt_type = given.pop("opt_type")
    if not isinstance(opt_type, str) or opt_type not in OPTIMIZORS:
        raise InvalidArgumentError("unsupported optimizor type", where=where, why=f"saw {opt_type!r:.200}",
                                   remedy=f"choose one of {', '.join(OPTIMIZORS)}")
    types = OPTIMIZORS[opt_type].list_attr_types()
    unknown = [attribute for attribute in given if attribute not in types]
    if unknown:
        raise InvalidArgumentError(f"the optimizor '{opt_type}' has no attribute {unknown[0]!r}", where=where,
                                   why=f"saw {given[unknown[0]]!r:.200}",
                                   remedy=f"its attributes are {', '.join(types) or 'none'}")
    try:
        return OPTIMIZORS[opt_type](**given).key
    except InvalidArgumentError as error:
        raise InvalidArgumentError(error.what, where=where, why=error.why, remedy=error.remedy) from error


def _pairs(value: Iterable[Any], where: str) -> list[tuple[str, Any]]:
    """The pairs of (opt_type, attribute, value, ...)."""
    first, *rest = value or (None,)
    names = rest[::2]
    if len(rest) % 2 or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise InvalidArgumentError("an optimizor is written (opt_type, attribute, value, ...)", where=where,
                                   why=f"saw {value!r:.200}",
                                   remedy='give each attribute once with its value, as in ("MovingAverage", "c", 0.01)')
    return [("opt_type", first), *zip(names, rest[1::2], strict=True)]


def check_served(attributes: Mapping[str, Any], where: str) -> None:
    """Raise unless the optimizor can serve the quantizer.

    Raises:
        InvalidArgumentError: it cannot.
    """
    opt_type, quant_type = attributes["opt_info"][0], attributes["quant_type"]
    supported = OPTIMIZORS[opt_type].list_supported_quant_types()
    if quant_type not in supported:
        raise InvalidArgumentError(f"the optimizor '{opt_type}' does not support the quantizer '{quant_type}'",
                                   where=where, why=f"it supports {', '.join(supported)}",
                                   remedy="change quant_type or opt_type")
