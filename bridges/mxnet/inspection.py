"""Describes MXNet files in MXNet's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import fx

from bridges.mxnet.bridge import MXNetModel, bridge
from bridges.mxnet.model_inputs import find_model_inputs, needed_nodes
from bridges.mxnet.registry import CONVERTERS
from bridges.mxnet.split_suggestion import suggest_split_of
from bridges.mxnet.symbol import SymbolNode
from mrt_torch.bridge import Shapes
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.stage import Stage
from mrt_torch.inspection import (
    ModelDescription,
    NamedShape,
    find_unsupported,
    most_frequent_first,
    no_float_model,
    reasons_of,
)
from mrt_torch.split_suggestion import SplitSuggestion


class MXNetInspector:
    """Describes ``-symbol.json`` with ``.params``."""

    def recognises(self, path: str, parameters_path: str | None) -> bool:
        """Whether the MXNet bridge reads files of these names."""
        return bridge.recognises(path, parameters_path)

    def inspect(self, path: str, parameters_path: str | None, shapes: Shapes) -> ModelDescription:
        """Operators and parameters as the files have them; shapes and problems as the import finds them.

        Raises:
            InvalidFileError: a file is missing or corrupt, or parameters are missing.
            InvalidArgumentError: ``shapes`` do not fit the model's inputs.
        """
        model = bridge.load(path, parameters_path)
        symbol, params = model.symbol, model.params
        nodes = [symbol.nodes[index] for index in needed_nodes(symbol)]
        declared = find_model_inputs(symbol, params, shapes if isinstance(shapes, Mapping) else ())
        inputs = tuple(NamedShape(name, None) for name in declared)
        outputs = tuple(NamedShape(name, None) for name in model.output_names())
        quantized = model.stage is Stage.INTEGER
        unsupported = () if quantized else _unknown_operators(nodes)
        module = None if unsupported else _import(model, shapes)
        if isinstance(module, UnsupportedOperatorError):
            unsupported = reasons_of(module)
        elif module is not None:
            inputs = NamedShape.of_nodes(input_nodes(module.graph), list(declared))
            outputs = NamedShape.of_nodes(output_nodes(module.graph), model.output_names())
            unsupported = () if quantized else find_unsupported(module)
        operators = most_frequent_first(_operator(node) for node in nodes if not node.is_variable)
        used = {node.name: params[node.name] for node in nodes if node.is_variable and node.name in params}
        return ModelDescription(
            path, "MXNet integer model" if quantized else "MXNet model", operators, len(used),
            sum(array.size for array in used.values()), sum(array.nbytes for array in used.values()),
            inputs, outputs, unsupported, complete=module is not None)

    def suggest_split(self, path: str, parameters_path: str | None, shapes: Shapes) -> SplitSuggestion:
        """The keys at which the model is best split; see ``suggest_split_of``.

        Raises:
            InvalidFileError: a file is missing or corrupt, or parameters are missing.
            InvalidArgumentError: ``shapes`` do not fit the model's inputs, or it is quantized already.
            UnsupportedOperatorError: no split leaves anything to quantize.
        """
        model = bridge.load(path, parameters_path)
        if model.stage is Stage.INTEGER:
            raise no_float_model(path)
        return suggest_split_of(model, shapes)


def _import(model: MXNetModel, shapes: Shapes) -> fx.GraphModule | UnsupportedOperatorError | None:
    """The graph, or why there is none; None where the shapes are not known."""
    try:
        return model.import_graph(shapes)
    except UnsupportedOperatorError as error:
        return error
    except InvalidArgumentError:
        if shapes is not None:
            raise
        return None


def _unknown_operators(nodes: Sequence[SymbolNode]) -> tuple[str, ...]:
    """A line for each operator without a converter: count, first node, nearest supported operator."""
    unknown: dict[str, list[str]] = {}
    for node in nodes:
        if not node.is_variable and node.operator not in CONVERTERS:
            unknown.setdefault(node.operator, []).append(node.name)
    lines = []
    for operator, names in unknown.items():
        nearest = CONVERTERS.nearest(operator)
        lines.append(f"{operator}: {len(names)} node{'s' * (len(names) > 1)}, first '{names[0]}'"
                     + (f"; nearest supported: {nearest}" if nearest else ""))
    return tuple(lines)


def _operator(node: SymbolNode) -> str:
    custom = node.attributes.get("op_type") if node.operator == "Custom" else None
    return f"Custom {custom}" if custom else node.operator


inspector = MXNetInspector()
