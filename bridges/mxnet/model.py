"""An MXNet model in memory: imported as a whole, or cut in two halves of which only the lower one is supported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import fx

from bridges.mxnet.import_integer import import_integer
from bridges.mxnet.importer import import_symbol
from bridges.mxnet.likeness import write_out_shapes
from bridges.mxnet.model_inputs import find_model_inputs, resolve_input_shapes
from bridges.mxnet.params_file import write_params
from bridges.mxnet.split_symbol import KeyNames, above, below, input_variable, params_of
from bridges.mxnet.symbol import Entry, Symbol, SymbolNode
from bridges.mxnet.symbol_file import write_symbol
from mrt_torch.bridge import Shapes
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import output_nodes, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.free_axis import free_axis
from mrt_torch.graph.stage import Stage


@dataclass(frozen=True)
class KnownInput:
    """Shape of an input: an example, on whose axis ``batch_axis`` is the batch, unless -1 marks another."""

    shape: tuple[int, ...]
    batch_axis: int = 0


@dataclass(frozen=True)
class MXNetModel:
    """A symbol and its parameters; the graph is imported once the input shapes are known.

    Attributes:
        symbol, params: as the files have them.
        inputs: what is known of inputs beyond the symbol, by name: those of the halves of a split.
    """

    symbol: Symbol
    params: Mapping[str, np.ndarray]
    inputs: Mapping[str, KnownInput] = field(default_factory=dict)

    @property
    def stage(self) -> Stage:
        """``INTEGER`` where ``export_integer`` wrote the symbol: its input then declares a precision."""
        inputs = [node for node in self.symbol.variables if node.name not in self.params]
        return Stage.INTEGER if any("__precision__" in node.attributes for node in inputs) else Stage.SOURCE

    def input_names(self) -> list[str]:
        """Variables without a parameter, in order."""
        return list(find_model_inputs(self.symbol, self.params, self.inputs))

    def output_names(self) -> list[str]:
        """Names of the heads' nodes, in order."""
        return [self.symbol.nodes[node].name for node, _ in self.symbol.heads]

    def import_graph(self, input_shapes: Shapes = None) -> fx.GraphModule:
        """The float graph, see ``import_symbol``; of a quantized model the integer one, see ``import_integer``."""
        if self.stage is Stage.INTEGER:
            return import_integer(self.symbol, self.params)
        return import_symbol(self.symbol, self.params, self.shapes(input_shapes),
                             batch_axes={name: known.batch_axis for name, known in self.inputs.items()})

    def shapes(self, given: Shapes) -> Shapes:
        """Shapes of the inputs as far as they are given or known."""
        if given is not None and not isinstance(given, Mapping):
            if len(self.inputs) != 1:
                return given
            given = {next(iter(self.inputs)): given}
        return {**{name: known.shape for name, known in self.inputs.items()}, **(given or {})} or None

    def split(self, keys: Sequence[str], input_shapes: Shapes) -> tuple[MXNetModel, MXNetModel]:
        """Base and top, cut at operators or inputs; the operators of top need no converter.

        Base returns the keys in topological order. Top takes them as inputs, by the names they have in base's graph,
        and returns what the whole model returns. Each half has the parameters it reads.

        Args:
            keys: names as ``KeyNames`` understands them.
            input_shapes: as in ``import_symbol``.

        Raises:
            InvalidArgumentError: a key names no output, several, the same as another, a constant, or what top does not
                read; a shape is not known; or top would still need an input of the model.
            UnsupportedOperatorError: base holds operators without a converter.
        """
        entries = KeyNames(self.symbol, self.params).entries(keys)
        nodes = output_nodes(self._part(below(self.symbol, entries), input_shapes).import_graph().graph)
        first: dict[fx.Node, Entry] = {}  # several outputs may be one value of the graph, as an input and its copy
        for entry, node in zip(entries, nodes, strict=True):
            if node.op == "get_attr":
                raise InvalidArgumentError(
                    "a key is a constant", where=f"node '{self.symbol.nodes[entry[0]].name}'",
                    why="it depends on no input of the model", remedy="leave it out: top computes it")
            first.setdefault(node, entry)
        inputs = {source_name(node): KnownInput(shape_of(node), free_axis(node) or 0) for node in first}
        variables = {entry: input_variable(source_name(node), shape_of(node))
                     for entry, node in zip(entries, nodes, strict=True)}
        top = self._top(self.symbol, variables, inputs)
        if top.bypassing():
            written = write_out_shapes(self.symbol, lambda part: self._part(part, input_shapes).import_graph())
            top = self._top(written, variables, inputs)
        if top.bypassing():
            raise InvalidArgumentError("the keys do not cut the graph in two", where=f"input '{top.bypassing()[0]}'",
                                       why="the top half still reads it",
                                       remedy="add the branches that bypass the keys")
        unread = [name for name in inputs if name not in top.input_names()]
        if unread:
            raise InvalidArgumentError("a key is of no use", where=f"key '{unread[0]}'",
                                       why="the top half reads it through other keys only", remedy="leave it out")
        return self._part(below(self.symbol, list(first.values())), input_shapes), top

    def bypassing(self) -> list[str]:
        """The inputs that nothing is known of: of a top, those besides the keys."""
        return [name for name in self.input_names() if name not in self.inputs]

    def _part(self, part: Symbol, input_shapes: Shapes) -> MXNetModel:
        """What stands below some outputs, with the shapes of its inputs."""
        params, given = params_of(part, self.params), self.shapes(input_shapes)
        if isinstance(given, Mapping):  # without those of the inputs that only the rest reads
            others = {node.name for node in self.symbol.variables} - {node.name for node in part.variables}
            given = {name: shape for name, shape in given.items() if name not in others}
        shapes = resolve_input_shapes(part, params, given)
        axes = {name: known.batch_axis for name, known in self.inputs.items()}
        return MXNetModel(part, params, {name: KnownInput(tuple(shape), axes.get(name, 0))
                                         for name, shape in shapes.items()})

    def _top(self, symbol: Symbol, variables: Mapping[Entry, SymbolNode],
             inputs: Mapping[str, KnownInput]) -> MXNetModel:
        part = above(symbol, variables)
        params = {name: array for name, array in params_of(part, self.params).items() if name not in inputs}
        return MXNetModel(part, params, inputs)

    def save(self, path: str, parameters_path: str) -> None:
        """Write the symbol and the parameters as they are, as MXNet does.

        Raises:
            InvalidArgumentError: the files cannot be written, or a parameter has no form in them.
        """
        auxiliary = set(self.symbol.auxiliary_names)
        write_params(parameters_path, {f"{'aux' if name in auxiliary else 'arg'}:{name}": array
                                       for name, array in self.params.items()})
        write_symbol(self.symbol, path)
