"""The CVM ``symbol`` file: its content as values, and its text exactly as the reference compiler lays it out.

Source: the CVM deployment format, version ``cvm_1.0.0`` (CortexFoundation cvm-runtime, ``SaveJSON`` pass).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mrt_torch.cvm.operator import OPERATORS

Shape = tuple[int, ...]
Reference = tuple[int, int]

VERSION = "cvm_1.0.0"
INPUT_NAME = "data"
UNSET_PRECISION = -1


@dataclass(frozen=True)
class SymbolNode:
    """One node of the file.

    Attributes:
        name: name of the node; unique.
        operator: name of the CVM operator, or None for a variable (the input or a parameter).
        inputs: for each operand the index of its node and the index of that node's output.
        attributes: the operator's attributes, all values as text (``op_attrs``).
    """

    name: str
    operator: str | None = None
    inputs: tuple[Reference, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_variable(self) -> bool:
        return self.operator is None

    @property
    def outputs(self) -> int:
        row = OPERATORS.get(self.operator)
        return 1 if row is None else row.outputs


@dataclass(frozen=True)
class CvmSymbol:
    """A deployed graph. ``shapes``, ``precisions`` and ``storage_ids`` have one item for each output of each
    node.

    ``precisions`` holds bits for variables and -1 for results of operators, which the runtime infers.
    """

    nodes: tuple[SymbolNode, ...]
    heads: tuple[Reference, ...]
    shapes: tuple[Shape, ...]
    precisions: tuple[int, ...]
    storage_ids: tuple[int, ...]
    postprocess: str = ""

    @property
    def row_offsets(self) -> list[int]:
        """Index of the first output of each node among all outputs; last item: how many there are."""
        offsets = [0]
        for node in self.nodes:
            offsets.append(offsets[-1] + node.outputs)
        return offsets

    @property
    def variables(self) -> list[int]:
        """Indices of the nodes that are variables."""
        return [index for index, node in enumerate(self.nodes) if node.is_variable]

    def entry(self, reference: Reference) -> int:
        """Index of one output among all outputs of all nodes."""
        return self.row_offsets[reference[0]] + reference[1]

    @property
    def head_shapes(self) -> list[Shape]:
        offsets = self.row_offsets
        return [self.shapes[offsets[node] + output] for node, output in self.heads]


def format_symbol(symbol: CvmSymbol) -> str:
    """Text of the ``symbol`` file: key order, indentation and separators are the reference compiler's.

    The runtime's JSON reader knows no ``\\u`` escapes: names and attributes must be ASCII (they are made so
    by the exporter, and ``assert``ed here).
    """
    offsets = symbol.row_offsets
    op_attrs = [_operator_attributes(node, symbol.precisions[offset], symbol.shapes[offset])
                for node, offset in zip(symbol.nodes, offsets[:-1], strict=True)]
    fields = {
        "nodes": "[\n    " + ", \n    ".join(map(_format_node, symbol.nodes)) + "\n  ]",
        "arg_nodes": _row(symbol.variables),
        "node_row_ptr": _row(offsets),
        "heads": _references(symbol.heads),
        "attrs": _object({
            "op_attrs": _tagged("list_str", _column(map(_string, op_attrs))),
            "dltype": _tagged("list_str", _column(_string("int32") for _ in symbol.shapes)),
            "precision": _tagged("list_int", _row(symbol.precisions)),
            "storage_id": _tagged("list_int", _row(symbol.storage_ids)),
            "shape": _tagged("list_shape", _column(map(_row, symbol.shapes))),
        }, indent=4),
    }
    if symbol.postprocess:
        fields["postprocess"] = _string(symbol.postprocess)
    fields["version"] = _string(VERSION)
    return _object(fields, indent=2)


def _operator_attributes(node: SymbolNode, precision: int, shape: Shape) -> str:
    if node.is_variable:
        return json.dumps({"precision": str(precision), "shape": str(tuple(shape))})
    return json.dumps(dict(node.attributes))


def _format_node(node: SymbolNode) -> str:
    fields = {"op": _string("null" if node.is_variable else "cvm_op"), "name": _string(node.name)}
    if not node.is_variable:
        fields["attrs"] = _object({
            "flatten_data": _string("0"), "func_name": _string(node.operator),
            "num_inputs": _string(str(len(node.inputs))), "num_outputs": _string(str(node.outputs)),
        }, indent=8)
    fields["inputs"] = _references(node.inputs)
    return _object(fields, indent=6)


def _string(text: str) -> str:
    assert text.isascii() and text.isprintable(), text
    return json.dumps(text)


def _row(items: Iterable[int]) -> str:
    return json.dumps(list(items))


def _references(references: Iterable[Reference]) -> str:
    return json.dumps([[node, output, 0] for node, output in references])


def _column(items: Iterable[str]) -> str:
    return "[\n        " + ", \n        ".join(items) + "]"


def _tagged(tag: str, items: str) -> str:
    return f'["{tag}", {items}]'


def _object(fields: Mapping[str, str], *, indent: int) -> str:
    inner = " " * indent
    return ("{\n" + ", \n".join(f"{inner}{_string(key)}: {text}" for key, text in fields.items())
            + "\n" + " " * (indent - 2) + "}")
