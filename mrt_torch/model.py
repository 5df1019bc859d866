"""Model: a network at any stage on its way from float to integers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from mrt_torch.bridge import DivisibleSource, Shapes, SourceModel, bridge_for, bridge_for_object
from mrt_torch.device import available_device, float_type
from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.editor import input_nodes, output_names, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.graph.shapes import set_input_shapes
from mrt_torch.graph.stage import Stage
from mrt_torch.input_data import shapes_by_node
from mrt_torch.joined_inputs import Arrays, JoinedInputs
from mrt_torch.model_file import SAFETENSORS, is_own_form, read_deployed, read_model, write_model
from mrt_torch.passes.prepare import prepare as prepare_graph
from mrt_torch.passes.simplify import Simplification
from mrt_torch.passes.split import split as split_graph
from mrt_torch.record import QuantizationRecord

if TYPE_CHECKING:
    from mrt_torch.merger import ModelMerger
    from mrt_torch.mrt import MRT


class Model:
    """A network: as loaded, prepared, or quantized.

    ``prepare`` changes the Model it is called on; everything else that makes a network returns a new Model. A float
    Model maps float tensors to float tensors; so does a quantized one, through its integers.

        >>> model = Model.from_torch(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), torch.zeros(1, 4))
        >>> model.prepare((1, 4))
        >>> model
        Model(prepared, 2 operators, data (1, 4) -> 1)
    """

    def __init__(self, module: fx.GraphModule | None = None, stage: Stage = Stage.SOURCE, *,
                 source: SourceModel | None = None, record: QuantizationRecord | None = None, prepared: bool = False,
                 joined: JoinedInputs | None = None):
        if (module is None) == (source is None):
            raise InvalidArgumentError("a Model is made from a graph or from a source",
                                       remedy="use Model.load or Model.from_torch")
        self._module, self._source = module, source
        self.stage, self.record, self.prepared, self.joined = stage, record, prepared, joined

    @classmethod
    def load(cls, symbol_file: str | os.PathLike[str] | Any, params_file: str | os.PathLike[str] | Any = None) -> Model:
        """Read a model: our own ``.json`` with ``.safetensors``, or files of any installed bridge.

        A bridge may take objects too: an ``mx.sym.Symbol`` with its parameters by name, or a gluon ``HybridBlock``.

        Raises:
            InvalidFileError: a file is missing, corrupt, or of no known format.
            InvalidArgumentError: an object that no installed bridge takes.
        """
        if not isinstance(symbol_file, (str, os.PathLike)):
            return cls._of_source(bridge_for_object(symbol_file).load_object(symbol_file, params_file))
        path = os.fspath(symbol_file)
        parameters = None if params_file is None else os.fspath(params_file)
        if parameters is not None and is_own_form(parameters):
            return cls(**read_model(path, parameters))
        return cls._of_source(bridge_for(path, parameters).load(path, parameters))

    @classmethod
    def _of_source(cls, source: SourceModel) -> Model:
        if source.stage is Stage.INTEGER:
            module = source.import_graph(None)
            return cls(module, Stage.INTEGER, record=QuantizationRecord.of_graph(module), prepared=True)
        return cls(source=source)

    @classmethod
    def from_torch(cls, module: nn.Module, example_inputs: torch.Tensor | Sequence[torch.Tensor],
                   batch_axis: int = 0) -> Model:
        """Capture a PyTorch module; the module itself is not changed. ``batch_axis`` of every input stays free.

        Raises:
            UnsupportedOperatorError: torch cannot export the module.
        """
        from mrt_torch.graph.capture import capture
        return cls(capture(module, example_inputs, batch_axis), Stage.SOURCE)

    @classmethod
    def load_cvm(cls, directory: str | os.PathLike[str]) -> Model:
        """Read a deployed CVM model back into an integer graph.

        Raises:
            InvalidFileError: a file is missing or corrupt.
            UnsupportedOperatorError: lists operators outside the integer stage.
        """
        return cls(**read_deployed(directory))

    def save(self, symbol_file: str | os.PathLike[str], params_file: str | os.PathLike[str]) -> None:
        """Write the model: our own form for ``.safetensors``, else that of the bridge that knows the file names.

        The top of a split that cannot be imported is written as its file had it.
        """
        path, parameters = os.fspath(symbol_file), os.fspath(params_file)
        if parameters.endswith(SAFETENSORS):
            write_model(self, path, parameters)
            return
        bridge = bridge_for(path, parameters)
        try:
            module = self.module
        except UnsupportedOperatorError:
            if not isinstance(self._source, DivisibleSource):
                raise
            self._source.save(path, parameters)
        else:
            bridge.save(module, self.stage, path, parameters)

    @property
    def module(self) -> fx.GraphModule:
        """The graph.

        Raises:
            InvalidArgumentError: the file declares no input shapes, and prepare was not called yet.
        """
        if self._module is None:
            self._module = self._source.import_graph(None)
        return self._module

    @property
    def is_quantized(self) -> bool:
        return self.stage in (Stage.INTEGER, Stage.RESTORED)

    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        if self._module is None:
            return self._source.input_names()
        return [source_name(node) if not self.prepared else node.name for node in input_nodes(self._module.graph)]

    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""
        if self._module is None:
            return self._source.output_names()
        return output_names(self._module.graph)

    def names(self) -> list[str]:
        """Names of all nodes but parameters, in the order they run."""
        return [source_name(n) for n in self.module.graph.nodes if n.op in ("placeholder", "call_function")]

    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input; its batch axis holds an example."""
        names = self.input_names()
        return dict(zip(names, map(shape_of, input_nodes(self.module.graph)), strict=True))

    def prepare(self, input_shape: Shapes = None, report: Simplification | None = None) -> None:
        """Rewrite the network into operators that have an integer form; acts on this Model.

        Args:
            input_shape: shape of the only input, or shapes by input name; None keeps those of the file or capture. The
                batch is axis 0, unless -1 marks another, as in ``(38, -1)``; it stays free.
            report: is told which rewriting rules fired, and why others did not.

        Raises:
            UnsupportedOperatorError: lists everything that has no integer form.
            InvalidArgumentError: the shape does not fit, or the model is quantized.
        """
        if self.is_quantized:
            raise InvalidArgumentError("a quantized model cannot be prepared", remedy="prepare the float model")
        module = self._graph_for(input_shape)
        joined = self.joined if self.prepared else JoinedInputs.of_graph(module)
        self._module, self._source = prepare_graph(module, report), None
        self.stage, self.prepared, self.joined = Stage.FLOAT, True, joined

    def with_input_shape(self, input_shape: Shapes) -> Model:
        """The same network for inputs of these shapes, as in ``prepare``, but not rewritten; its batch stays free.

        Raises:
            UnsupportedOperatorError: the bridge of its file cannot express an operator.
            InvalidArgumentError: the shape does not fit.
        """
        return Model(self._graph_for(input_shape), self.stage, record=self.record, prepared=self.prepared,
                     joined=self.joined)

    def _graph_for(self, input_shape: Shapes) -> fx.GraphModule:
        """The graph for these input shapes; None keeps those at hand. It may be edited."""
        if self._source is not None and (self._module is None or input_shape is not None) and not self.prepared:
            return self._source.import_graph(input_shape)
        module = copy_graph_module(self.module)
        if input_shape is not None:
            set_input_shapes(module, shapes_by_node(module, input_shape, batch_only=self.prepared))
        return module

    def join_inputs(self, arrays: Arrays) -> torch.Tensor:
        """What a prepared model of several inputs takes as its one input ``data``: see ``JoinedInputs.join``.

        Raises:
            InvalidArgumentError: the model has one input, or the arrays do not fit the inputs it had.
        """
        if self.joined is None:
            raise InvalidArgumentError("the model has no joined inputs", why=f"its inputs are {self.input_names()}",
                                       remedy="call prepare on a model of several inputs first")
        return self.joined.join(arrays)

    def get_mrt(self) -> MRT:
        """The calibration and quantization of this prepared model."""
        from mrt_torch.mrt import MRT
        return MRT(self)

    def split(self, keys: Sequence[str], input_shape: Shapes = None) -> tuple[Model, Model]:
        """Base and top of this model: base ends at the nodes called ``keys``, top starts there.

        ``input_shape``, as in ``prepare``, is for a model whose file declares no shapes. Where its bridge can cut the
        file itself, only the base has to be supported: the top is imported when it is used, and ``save`` writes it in
        the form of its framework, to be run there. ``mrt-torch inspect --suggest-split`` names keys.

        Raises:
            InvalidArgumentError: a key is no node, is given twice, or top would still need an input of the model.
            UnsupportedOperatorError: the base holds operators that its bridge cannot express.
        """
        try:
            module = self.module if input_shape is None else self._graph_for(input_shape)
        except UnsupportedOperatorError:
            if not isinstance(self._source, DivisibleSource):
                raise
            lower, upper = self._source.split(keys, input_shape)
            return Model(lower.import_graph(None)), Model(source=upper)
        base, top = split_graph(module, keys, self.stage)
        return (Model(base, self.stage, prepared=self.prepared, joined=self.joined),
                Model(top, self.stage, prepared=self.prepared))

    @staticmethod
    def merger(base: Model, top: Model, base_name_maps: Mapping[str, str] | None = None) -> ModelMerger:
        """Joins a quantized base and a float top again."""
        from mrt_torch.merger import ModelMerger
        return ModelMerger(base, top, base_name_maps)

    def to_graph(self, dtype: str | torch.dtype | None = None, ctx: str | torch.device | None = None) -> fx.GraphModule:
        """The GraphModule on a device; of a quantized model the raw one, int32 in and a tuple of int32 out.

        Args:
            dtype: element type of a float graph, such as "float32"; an integer graph has only int32.
            ctx: torch device; None stays where the tensors are.

        Raises:
            InvalidArgumentError: no float type, or no device, of that name.
        """
        graph = copy_graph_module(self.module)
        if dtype is not None and not self.is_quantized:
            graph = graph.to(float_type(dtype))
        return graph if ctx is None else graph.to(available_device(ctx))

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Float outputs for float inputs (tensors or arrays); one tensor where the model has one output.

        A prepared model of several inputs takes them joined, as separate arguments, or as a mapping by name.

        Raises:
            InvalidArgumentError: the count or the shapes of the inputs are wrong, or a quantized model sees a NaN.
        """
        from mrt_torch.inference import infer
        return infer(self, inputs)

    def to_cvm(self, model_name: str, datadir: str | os.PathLike[str] = "/data/stdout",
               input_shape: Shapes = None, target: str = "gpu", device_ids: int | Sequence[int] = 0,
               data: torch.Tensor | None = None) -> Path:
        """Write the quantized model for the CVM into ``<datadir>/<model_name>``: symbol, params and ext.

        Args:
            model_name: name of the folder.
            datadir: where to create it.
            input_shape: shape with the batch to fix; None keeps the one at hand.
            target, device_ids: accepted as documented; the files do not depend on a device.
            data: a float batch, whose integers go into ``data.npy`` beside the others.

        Raises:
            ExportError: lists everything the runtime would refuse; nothing is written then.
            InvalidArgumentError: the model is not quantized, or ``data`` is not a batch of that shape.
        """
        from mrt_torch.deployment import deploy
        return deploy(self, model_name, datadir, input_shape, data)

    def __repr__(self) -> str:
        label = {Stage.SOURCE: "loaded", Stage.FLOAT: "prepared", Stage.RESTORED: "quantized with float parts",
                 Stage.INTEGER: "quantized"}[self.stage]
        if self._module is None:
            return f"Model({label}, {', '.join(self.input_names())} -> {', '.join(self.output_names())})"
        count = sum(node.op == "call_function" for node in self._module.graph.nodes)
        inputs = ", ".join(f"{name} {shape}" for name, shape in self.input_shapes().items())
        return f"Model({label}, {count} operators, {inputs} -> {', '.join(self.output_names())})"
