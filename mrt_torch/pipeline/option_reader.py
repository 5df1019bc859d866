"""Options by section, as a configuration gives them: looked up, read by type, and all mistakes told at once."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.pipeline.keys import KEYS, REQUIRED, SECTIONS, key_called
from mrt_torch.pipeline.value_types import PATH
from mrt_torch.pipeline.values import native_value, parse_value

logger = logging.getLogger(__name__)

DEFAULT = "DEFAULT"
MISSING = "Please specify the value"
#: Texts, or values of TOML, by section and option.
Sections = Mapping[str, Mapping[str, Any]]


class OptionReader:
    """Reads options and collects what is wrong with them.

    An option of ``[DEFAULT]`` is seen in every section that does not have it; an empty value is the default. Names of
    options are read in any case.

    Args:
        sections: what the file says.
        source: names the file, for messages.
        overrides: what replaces it, by section and option.
    """

    def __init__(self, sections: Sections, source: str = "", overrides: Sections | None = None):
        self._given = _lower(sections)
        self._source = source
        self._overrides = _lower(overrides or {})
        for section, values in self._overrides.items():
            self._given[section] = {**self._given.get(section, {}), **values}
        self._errors: dict[str, InvalidArgumentError] = {}
        self._failed: set[tuple[str, str]] = set()

    def has(self, section: str) -> bool:
        """Whether there is such a section."""
        return section in self._given

    def gives(self, section: str, option: str) -> bool:
        """Whether the section itself has a value for the option that is not empty."""
        return not _is_empty(self._given.get(section, {}).get(option.lower()))

    def get(self, section: str, option: str) -> Any:
        """The value of an option of the table ``KEYS``, or its default, also where it is wrong."""
        key = key_called(section, option)
        try:
            default = key.default
            if key.dtype == PATH and isinstance(default, str):
                default = parse_value(default, PATH, "")
            value = self.read(section, option, key.dtype, default)
            return value if value is default else key.check(value, self.where(section, option))
        except InvalidArgumentError as error:
            self.refuse(section, option, error)
            return None if key.default is REQUIRED else default

    def read(self, section: str, option: str, dtype: str, default: Any = REQUIRED) -> Any:
        """The value of any option as a type of ``value_types``.

        Raises:
            InvalidArgumentError: it is not of that type, or it is missing and there is no default.
        """
        value, where = self._lookup(section, option), self.where(section, option)
        if _is_empty(value):
            if default is REQUIRED:
                raise InvalidArgumentError(MISSING, where=where, why="it has no value and no default",
                                           remedy=f"write a line {option}=<value> into section `{section}`")
            return default
        return (parse_value if isinstance(value, str) else native_value)(value, dtype, where)

    def where(self, section: str, option: str) -> str:
        """The place of an option, for messages: where it is written, or where it belongs."""
        name = option.lower()
        if name not in self._given.get(section, {}) and name in self._given.get(DEFAULT, {}):
            section = DEFAULT
        source = "the overrides" if name in self._overrides.get(section, {}) else self._source
        return f"option `{option}` in section `{section}`" + (f" of {source}" if source else "")

    def refuse(self, section: str, option: str, error: InvalidArgumentError) -> None:
        """Keep an error for ``raise_errors``; the option counts as wrong from then on."""
        self._failed.add((section, option))
        self._errors.setdefault(str(error), error)

    def is_right(self, section: str, option: str) -> bool:
        """Whether nothing was wrong with an option by now, so that others may be compared with it."""
        return (section, option) not in self._failed

    def refuse_unknown(self) -> None:
        """Keep an error for every section and option that the table ``KEYS`` does not have.

        An option without a value asks for nothing, as in some of MRT's files: there is only a warning.
        """
        for section, values in self._given.items():
            if section not in SECTIONS:
                source = self._source or "the overrides"
                error = _unknown("section", section, SECTIONS, f"section `{section:.200}` of {source}")
                self._errors.setdefault(str(error), error)
                continue
            names = [key.name for key in KEYS if section in (key.section, DEFAULT)]
            known = {name.lower() for name in names}
            for option in [option for option in values if option not in known]:
                self._refuse_option(section, option, names)

    def _refuse_option(self, section: str, option: str, names: list[str]) -> None:
        homes = [key.section for key in KEYS if key.name.lower() == option]
        error = _unknown("option", option, names, self.where(section, option), homes)
        if _is_empty(self._given[section][option]) and option not in self._overrides.get(section, {}):
            logger.warning("%s", error)
        else:
            self.refuse(section, option, error)

    def raise_errors(self) -> None:
        """Tell all that was wrong, in one error.

        Raises:
            InvalidArgumentError: something was.
        """
        errors = list(self._errors.values())
        if len(errors) == 1:
            raise errors[0]
        if errors:
            heading = f"{len(errors)} mistakes" + (f" in {self._source}" if self._source else "")
            raise InvalidArgumentError("\n\n".join([heading, *map(str, errors)]))

    def _lookup(self, section: str, option: str) -> Any:
        name = option.lower()
        return self._given.get(section, {}).get(name, self._given.get(DEFAULT, {}).get(name))


def _lower(sections: Sections) -> dict[str, dict[str, Any]]:
    return {section: {option.lower(): value for option, value in values.items()}
            for section, values in sections.items()}


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _unknown(kind: str, name: str, names: Iterable[str], where: str, homes: Iterable[str] = ()) -> InvalidArgumentError:
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    if homes:
        remedy = f"move it to section `{'`, `'.join(homes)}`"
    elif close:
        remedy = f"did you mean `{by_lower[close[0]]}`?"
    else:
        remedy = f"choose from {', '.join(by_lower.values())}"
    return InvalidArgumentError(f"there is no such {kind}", where=where, why=f"saw `{name:.200}`", remedy=remedy)
