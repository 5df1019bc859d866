"""Every error the library raises on purpose, in one hierarchy.

A message has four parts: what failed, where (node, operator, source line or file offset), why (seen and
expected) and what to do about it.
"""

from __future__ import annotations


class MRTError(Exception):
    """Base of all errors raised by mrt_torch and its bridges.

    Args:
        what: one sentence, what failed.
        where: the node, operator, source line, option or file offset.
        why: the value seen and the value expected.
        remedy: what the user can do.
    """

    def __init__(self, what: str, *, where: str | None = None, why: str | None = None, remedy: str | None = None):
        self.what = what
        self.where = where
        self.why = why
        self.remedy = remedy
        parts = [what]
        parts += [f"  {label}: {text}" for label, text in
                  (("where", where), ("why", why), ("what to do", remedy)) if text]
        super().__init__("\n".join(parts))


class InvalidArgumentError(MRTError, ValueError):
    """An argument of a public function has a wrong type, shape or value."""


class InvalidFileError(MRTError):
    """A file is truncated, corrupt, or not of the format its reader expects."""


class UnsupportedOperatorError(MRTError):
    """A model holds operators, or variants of operators, that a stage cannot express."""


class InvalidGraphError(MRTError):
    """A graph breaks the rules of its stage (targets, dtypes, names, shapes)."""


class CalibrationError(MRTError):
    """Calibration data or activations are unusable, or calibration is missing."""


class PrecisionError(MRTError):
    """A value cannot be proven to fit the 32 bits of the integer stage."""


class ExportError(MRTError):
    """An integer graph cannot be written in the requested deployment format."""


class RuntimeLibraryError(MRTError):
    """The installed CVM runtime refused a model or an input."""


class MissingDependencyError(MRTError, ImportError):
    """An optional package is not installed."""
