"""The table of operators, generated from the registry: what each becomes in every pass."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any

import mrt_torch.ops as ops
from mrt_torch.cvm import OPERATORS
from mrt_torch.ops.registry import TRANSFORMERS
from mrt_torch.ops.transformer import PASSES, Transformer

COLUMNS = ("class", "MXNet", "PyTorch", "CVM", "passes", "limits")
PASS_LETTERS = dict(zip(PASSES, "VRTOQPC", strict=True))


@dataclass(frozen=True)
class OperatorRow:
    """One Transformer.

    Attributes:
        name: of the class.
        mxnet: name of the operator in MXNet.
        targets: ATen and other operators the class is registered for; of its parent where it is another name for it.
        lowering: CVM operators it becomes, or what it is rewritten into.
        passes: the passes it supports.
        limits: what has no integer form; "none" where all of it has one.
    """

    name: str
    mxnet: str
    targets: tuple[str, ...]
    lowering: str
    passes: tuple[str, ...]
    limits: str

    def cells(self) -> tuple[str, ...]:
        """Texts of the columns; passes as letters, in their order."""
        letters = "".join(PASS_LETTERS[name] for name in self.passes)
        return self.name, self.mxnet, ", ".join(self.targets), self.lowering, letters, self.limits

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def operator_rows() -> list[OperatorRow]:
    """One row for each Transformer that is registered, or public under a name of the documents; by class name."""
    public = {cls for cls in vars(ops).values() if inspect.isclass(cls) and issubclass(cls, Transformer)}
    registered = {type(transformer) for _, transformer in TRANSFORMERS}
    concrete = {cls for cls in public | registered if _targets(cls)}
    return sorted((_row(cls) for cls in concrete), key=lambda row: row.name)


def _targets(cls: type[Transformer]) -> tuple[str, ...]:
    """Targets a class is responsible for; those of its nearest parent where it is registered for none itself."""
    for base in cls.__mro__:
        found = tuple(_short(target) for target, transformer in TRANSFORMERS if type(transformer) is base)
        if found:
            return found
    # A public base, such as Activation, stands for the operators that are made with it.
    if cls is Transformer:
        return ()
    return tuple(_short(target) for target, found in TRANSFORMERS if isinstance(found, cls))


def _short(target: Any) -> str:
    return str(target).removesuffix(".default")


def _row(cls: type[Transformer]) -> OperatorRow:
    passes = tuple(name for name in PASSES if cls().has_pass(name))
    return OperatorRow(cls.__name__, cls.op_name, _targets(cls), _lowering(cls), passes, cls.limits or "none")


def _lowering(cls: type[Transformer]) -> str:
    if cls.rewritten_into:
        return f"rewritten: {cls.rewritten_into}"
    # What exists in floats only says so in its limits.
    return ", ".join(cls.cvm_operators) or ("-" if cls.limits else "")


def markdown() -> str:
    """The documentation page of the operators."""
    legend = ", ".join(f"{letter} {name}" for name, letter in PASS_LETTERS.items())
    lines = ["# Operators", "", "Generated from the registry by `mrt-torch ops --markdown`.", "",
             f"Passes: {legend}.", "",
             "Import, float execution and MXNet export go by the PyTorch operator; an operator that is rewritten is "
             "gone before calibration. CVM: what `quantize` emits, besides the multiplication and shift that bring "
             "its inputs to their precision; `-` where nothing is computed.", "",
             "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row.cells()) + " |" for row in operator_rows()]
    lines += ["", "## Operators of the integer graph", "",
              "Each is `torch.ops.cvm.<name>` on int32, and one operator of the CVM.", "",
              "| CVM | schema | MXNet |", "|---|---|---|"]
    lines += [f"| {row.name} | `{row.schema}` | {row.mxnet_name} |" for row in sorted(OPERATORS, key=lambda r: r.name)]
    return "\n".join(lines) + "\n"
