"""Model: a network at any stage on its way from float to integers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx, nn

from mrt_torch.bridge import Shapes, SourceModel, bridge_called, bridge_for, bridge_for_object
from mrt_torch.device import available_device, float_type
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.runner import copy_graph_module
from mrt_torch.graph.shapes import set_input_shapes
from mrt_torch.graph.stage import Stage
from mrt_torch.input_data import as_tensor, check_shape, shapes_by_node
from mrt_torch.joined_inputs import Arrays, JoinedInputs
from mrt_torch.model_file import extension_of, read_deployed, read_model, write_model
from mrt_torch.passes.prepare import prepare as prepare_graph
from mrt_torch.passes.prepare_for_compile import prepare_for_compile
from mrt_torch.passes.simplify import Simplification
from mrt_torch.passes.split import split as split_graph
from mrt_torch.quantization.restore import float_nodes
from mrt_torch.record import QuantizationRecord
from mrt_torch.simulation import load_real_data

if TYPE_CHECKING:
    from mrt_torch.merger import ModelMerger
    from mrt_torch.mrt import MRT

SAFETENSORS = ".safetensors"


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
        if parameters is not None and parameters.endswith(SAFETENSORS):
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
        """Write the model: our own form for ``.safetensors``, else that of the bridge that knows the file names."""
        path, parameters = os.fspath(symbol_file), os.fspath(params_file)
        if parameters.endswith(SAFETENSORS):
            write_model(self, path, parameters)
        else:
            bridge_for(path, parameters).save(self.module, self.stage, path, parameters)

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
        return [source_name(node) for node in output_nodes(self._module.graph)]

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

        ``input_shape``, as in ``prepare``, is for a model whose file declares no shapes.
        """
        module = self.module if input_shape is None else self._graph_for(input_shape)
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
        nodes = input_nodes(self.module.graph)
        named = len(inputs) == 1 and isinstance(inputs[0], Mapping)
        if self.joined and (named or len(inputs) > 1):
            inputs = (self.joined.join(inputs[0] if named else inputs),)
        if len(inputs) != len(nodes):
            raise InvalidArgumentError("the model takes one array for each of its inputs",
                                       why=f"saw {len(inputs)} for {self.input_names()}",
                                       remedy="pass one array for each input, in order")
        tensors = [as_tensor(x) for x in inputs]
        for tensor, node in zip(tensors, nodes, strict=True):
            check_shape(tensor, node)
        if not self.is_quantized:
            outputs = self.module(*(x.to(node.meta["val"].dtype) for x, node in zip(tensors, nodes, strict=True)))
        else:
            integers = [load_real_data(x, node.name, self.record.inputs)
                        for x, node in zip(tensors, nodes, strict=True)]
            outputs = [(o.to(torch.float64) / s).to(torch.float32)
                       for o, s in zip(self.module(*integers), self.record.output_scales, strict=True)]
            if self.record.output_shapes:
                outputs = [o.reshape(-1, *shape[1:])
                           for o, shape in zip(outputs, self.record.output_shapes, strict=True)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def to_cvm(self, model_name: str, datadir: str | os.PathLike[str] = "/data/stdout",
               input_shape: Shapes = None, target: str = "gpu", device_ids: int | Sequence[int] = 0) -> Path:
        """Write the quantized model for the CVM into ``<datadir>/<model_name>``: symbol, params and ext.

        Args:
            model_name: name of the folder.
            datadir: where to create it.
            input_shape: shape with the batch to fix; None keeps the one at hand.
            target, device_ids: accepted as documented; the files do not depend on a device.

        Raises:
            ExportError: lists everything the runtime would refuse; nothing is written then.
            InvalidArgumentError: the model is not quantized.
        """
        if self.stage is Stage.RESTORED:
            raise InvalidArgumentError(
                "a model with parts in float cannot be exported to the CVM", where="to_cvm",
                why=f"in float: {', '.join(float_nodes(self.module)[:20])}", remedy="quantize without set_restore")
        if model_name in ("", ".", "..") or Path(model_name).name != model_name:
            raise InvalidArgumentError("a model name is the name of a folder", where="to_cvm",
                                       why=f"saw {model_name!r}", remedy="give the folder above it as datadir")
        fixed = reduce_graph(self, input_shape)
        return bridge_called("cvm").save(fixed.module, Path(datadir) / model_name, extension_of(fixed))

    def __repr__(self) -> str:
        label = {Stage.SOURCE: "loaded", Stage.FLOAT: "prepared", Stage.RESTORED: "quantized with float parts",
                 Stage.INTEGER: "quantized"}[self.stage]
        if self._module is None:
            return f"Model({label}, {', '.join(self.input_names())} -> {', '.join(self.output_names())})"
        count = sum(node.op == "call_function" for node in self._module.graph.nodes)
        inputs = ", ".join(f"{name} {shape}" for name, shape in self.input_shapes().items())
        return f"Model({label}, {count} operators, {inputs} -> {', '.join(self.output_names())})"


def reduce_graph(model: Model, input_shapes: Shapes = None) -> Model:
    """The quantized model with its batch fixed, as exporters take it.

    Raises:
        InvalidArgumentError: the model is not quantized.
        InvalidGraphError: the graph refuses the shapes.
    """
    if not model.is_quantized:
        raise InvalidArgumentError("only a quantized model can be exported", where="to_cvm or reduce_graph",
                                   why=f"saw {model!r}", remedy="call MRT.quantize first")
    shapes = {} if input_shapes is None else shapes_by_node(model.module, input_shapes, batch_only=True)
    if model.stage is Stage.RESTORED:
        fixed = copy_graph_module(model.module)
        set_input_shapes(fixed, shapes)
    else:
        fixed = prepare_for_compile(model.module, shapes)
    return Model(fixed, model.stage, record=model.record, prepared=True, joined=model.joined)
