"""Which variables of an MXNet symbol are inputs of the model, and their shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from bridges.mxnet.attributes import Attributes
from bridges.mxnet.registry import CONVERTERS
from bridges.mxnet.symbol import Symbol
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.graph.shapes import example_shape

Shape = tuple[int, ...]


def needed_nodes(symbol: Symbol) -> list[int]:
    """Indices of the nodes inference needs, in order: what the heads depend on, not counting labels."""
    needed = {node for node, _ in symbol.heads}
    for index in range(len(symbol.nodes) - 1, -1, -1):
        if index in needed:
            needed.update(source for source, label, _ in reads(symbol, index) if not label)
    return sorted(needed)


def outputs_read(symbol: Symbol, needed: Sequence[int]) -> dict[int, set[int]]:
    """Positions of the outputs of each of the ``needed`` nodes that a head or a needed node reads."""
    read: dict[int, set[int]] = {index: set() for index in needed}
    for source, output in (*symbol.heads, *(entry for index in needed for entry in symbol.nodes[index].inputs)):
        if source in read:  # a label is not
            read[source].add(output)
    return read


def find_model_inputs(symbol: Symbol, params: Collection[str],
                      inputs: Collection[str] = ()) -> dict[str, Shape | None]:
    """Return the inputs of a model, in order, with the shape the ``__shape__`` attribute declares, or None.

    Inputs are the variables without a parameter. Labels of training losses are none.

    Args:
        symbol: the graph.
        params: names of the parameters.
        inputs: names of variables that are inputs although they stand where a parameter is expected.

    Raises:
        InvalidFileError: variables that only stand where learnt values are expected have none; lists them.
    """
    needed = set(needed_nodes(symbol))
    feeds_data = {node for node, _ in symbol.heads}
    for index in needed:
        feeds_data.update(source for source, label, parameter in reads(symbol, index)
                          if not label and not parameter)
    found: dict[str, Shape | None] = {}
    missing: dict[str, int] = {}
    for index in sorted(needed):
        node = symbol.nodes[index]
        if not node.is_variable or node.name in params or node.name in found:
            continue
        if index in feeds_data or node.name in inputs:
            declared = Attributes(node.operator, node.name, node.attributes).optional_integers("__shape__")
            found[node.name] = declared or None
        else:
            missing.setdefault(node.name, index)
    if missing:
        _refuse_missing(symbol, missing, needed)
    return found


def _refuse_missing(symbol: Symbol, missing: Mapping[str, int], needed: Collection[int]) -> NoReturn:
    """``missing`` are the variables' indices by name."""
    first = next(iter(missing.values()))
    reader = next(symbol.nodes[index] for index in sorted(needed)
                  if any(source == first for source, _ in symbol.nodes[index].inputs))
    count = f"{len(missing)} parameters" if len(missing) > 1 else "1 parameter"
    raise InvalidFileError(
        f"{count} of the MXNet model {'are' if len(missing) > 1 else 'is'} missing",
        where=f"first at node '{reader.name}' ({reader.operator}), which reads one",
        why=f"there is no {_listed(missing)} in the parameters",
        remedy="load the .params file that was saved with this symbol")


def resolve_input_shapes(symbol: Symbol, params: Collection[str],
                         given: Mapping[str, Sequence[int]] | Sequence[int] | None) -> dict[str, Shape]:
    """Return the complete shape of every input, in order; see `import_symbol`.

    Raises:
        InvalidArgumentError: an input shape is unknown, malformed, or given for a name that is no input.
        InvalidFileError: parameters are missing.
    """
    by_name = given if isinstance(given, Mapping) else {}
    inputs = find_model_inputs(symbol, params, by_name)
    if given is not None and not isinstance(given, Mapping):
        if len(inputs) != 1:
            raise InvalidArgumentError("one input shape was given for several inputs" if inputs else
                                       "an input shape was given for a model without inputs",
                                       where="input_shapes", why=f"the inputs are {_listed(inputs)}",
                                       remedy="give a mapping from input names to shapes")
        by_name = {next(iter(inputs)): given}
    _refuse_other_names(symbol, inputs, by_name)
    shapes, unknown = {}, []
    for name, declared in inputs.items():
        if name in by_name:
            shapes[name] = _checked(name, by_name[name])
        elif declared is None or any(dim < 1 for dim in declared[1:]):
            unknown.append(f"'{name}'" + (f" (declared as {declared})" if declared else ""))
        else:
            shapes[name] = (max(declared[0], 1), *declared[1:])
    if unknown:
        raise InvalidArgumentError(
            "the shapes of inputs are not known", where=f"input {unknown[0]}", why=f"unknown: {', '.join(unknown)}",
            remedy="give them, as {'data': (1, 3, 224, 224)}; if one is a parameter, the file lacks it")
    return shapes


def _refuse_other_names(symbol: Symbol, inputs: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    needed = {symbol.nodes[index].name for index in needed_nodes(symbol)}
    dropped = {node.name for node in symbol.variables} - needed  # labels: giving their shapes is common
    others = [name for name in given if name not in inputs and name not in dropped]
    if others:
        raise InvalidArgumentError(f"shapes are given for {_listed(others)}", where="input_shapes",
                                   why="there is no such input", remedy=f"its inputs are {_listed(inputs)}")


def _checked(name: str, shape: Any) -> Shape:
    dims = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else ()
    whole = all(isinstance(dim, int) and not isinstance(dim, bool) for dim in dims)
    if dims and dims[0] in (0, -1) and -1 not in dims[1:]:  # stands for "any", as in MXNet's own files
        dims = (1, *dims[1:])
    if not dims or not whole or any(dim < 1 for dim in example_shape(dims)[0]):
        raise InvalidArgumentError("an input shape is malformed", where=f"input '{name}'", why=f"saw {shape!r:.80}",
                                   remedy="give a tuple of positive integers, as (1, 3, 224, 224); -1 marks the batch")
    return dims


def reads(symbol: Symbol, index: int) -> list[tuple[int, bool, bool]]:
    """(source node, is it a label, is it a parameter) of each input of a node; of an unknown operator all are data."""
    node = symbol.nodes[index]
    if node.operator not in CONVERTERS:
        return [(source, False, False) for source, _ in node.inputs]
    converter = CONVERTERS[node.operator]
    return [(source, converter.is_label(position), converter.is_parameter(position))
            for position, (source, _) in enumerate(node.inputs)]


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
