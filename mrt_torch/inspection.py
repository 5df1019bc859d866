"""What a model file holds: operators, parameters, shapes, and what cannot be quantized.

Files of other frameworks are described in that framework's own terms by inspectors, which are found through the
entry-point group ``mrt_torch.inspectors``; other files are described by the graph that their bridge imports.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from torch import fx

from mrt_torch.bridge import Shapes
from mrt_torch.errors import InvalidArgumentError, MRTError
from mrt_torch.graph.editor import input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.stage import Stage
from mrt_torch.model import SAFETENSORS, Model
from mrt_torch.passes.prepare import prepare
from mrt_torch.passes.simplify import Simplification
from mrt_torch.split_suggestion import SplitSuggestion, suggest_split

GROUP = "mrt_torch.inspectors"
Shape = tuple[int, ...]


@dataclass(frozen=True)
class NamedShape:
    """An input or output; the shape is None where it is not known. Axis 0 of a float model is an example."""

    name: str
    shape: Shape | None

    @classmethod
    def of_nodes(cls, nodes: Sequence[fx.Node], names: Sequence[str] | None = None) -> tuple[NamedShape, ...]:
        """Those of nodes; None takes the nodes' own names."""
        names = [source_name(node) for node in nodes] if names is None else names
        return tuple(cls(name, shape_of(node)) for name, node in zip(names, nodes, strict=True))


@dataclass(frozen=True)
class ModelDescription:
    """What a model file holds.

    Attributes:
        path: the file or folder.
        form: what kind of model it is, for a person.
        operators: number of nodes by operator, most frequent first.
        parameters, elements, bytes: parameter tensors, the numbers in them and their size.
        inputs, outputs: in the order of the model.
        unsupported: one line for each operator, or use of one, that has no integer form.
        complete: whether the use of the operators was checked too, which needs the input shapes.
    """

    path: str
    form: str
    operators: Mapping[str, int]
    parameters: int
    elements: int
    bytes: int
    inputs: tuple[NamedShape, ...]
    outputs: tuple[NamedShape, ...]
    unsupported: tuple[str, ...] = field(default=())
    complete: bool = True

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


class Inspector(Protocol):
    """Describes the files of one framework."""

    def recognises(self, path: str, parameters_path: str | None) -> bool:
        """Whether it describes files of these names."""

    def inspect(self, path: str, parameters_path: str | None, shapes: Shapes) -> ModelDescription:
        """The description of a model; ``shapes`` are those of its inputs, where its files lack them."""

    def suggest_split(self, path: str, parameters_path: str | None, shapes: Shapes) -> SplitSuggestion:
        """The keys at which a model with unsupported parts is best split."""


def inspect_model(path: str | os.PathLike[str], params: str | os.PathLike[str] | None = None,
                  shapes: Shapes = None) -> ModelDescription:
    """Describe a model file, or the folder of a deployed CVM model.

    Args:
        path: the file or folder.
        params: the parameter file; None looks for it beside ``path``.
        shapes: shape of the input, or shapes by input name, where the file does not tell.

    Raises:
        InvalidFileError: a file is missing, corrupt, or of no known format.
        InvalidArgumentError: the shapes do not fit the model's inputs.
    """
    path = Path(path)
    if path.is_dir():
        return describe_model(Model.load_cvm(path), str(path), "deployed CVM model")
    parameters = parameters_of(path, params)
    inspector = inspector_for(path, parameters)
    if inspector is not None:
        return inspector.inspect(str(path), parameters, shapes)
    return describe_model(Model.load(path, parameters), str(path), None)


def inspector_for(path: Path, parameters: str | None) -> Inspector | None:
    """The inspector of files of these names; None for our own files, and where there is none."""
    if parameters is None or not parameters.endswith(SAFETENSORS):
        for entry in entry_points(group=GROUP):
            inspector: Inspector = entry.load()
            if inspector.recognises(str(path), parameters):
                return inspector
    return None


def suggest_model_split(path: str | os.PathLike[str], params: str | os.PathLike[str] | None = None,
                        shapes: Shapes = None) -> SplitSuggestion:
    """The keys at which to split a model that has parts without an integer form, for ``Model.split`` and
    ``[SPLIT_MODEL] Keys``; the arguments are those of ``inspect_model``.

    Raises:
        InvalidFileError: a file is missing, corrupt, or of no known format.
        InvalidArgumentError: the shapes do not fit the model's inputs, or it is quantized already.
        UnsupportedOperatorError: no split leaves anything to quantize.
    """
    path = Path(path)
    if path.is_dir():
        raise no_float_model(str(path))
    parameters = parameters_of(path, params)
    inspector = inspector_for(path, parameters)
    if inspector is not None:
        return inspector.suggest_split(str(path), parameters, shapes)
    model = Model.load(path, parameters)
    if model.is_quantized:
        raise no_float_model(str(path))
    return SplitSuggestion() if model.prepared else suggest_split(model.with_input_shape(shapes).module)


def no_float_model(path: str) -> InvalidArgumentError:
    """The error of a model that is no longer float."""
    return InvalidArgumentError("a quantized model needs no split", where=path,
                                remedy="inspect the float model it was made from")


def explain_model(path: str | os.PathLike[str], params: str | os.PathLike[str] | None = None,
                  shapes: Shapes = None) -> Simplification:
    """What the rewriting rules of ``Model.prepare`` do to a float model; the arguments are those of ``inspect_model``.

    Raises:
        UnsupportedOperatorError: the model cannot be prepared.
        InvalidArgumentError: it is an integer model, or the shapes do not fit.
    """
    path, report = Path(path), Simplification()
    if path.is_dir():
        raise InvalidArgumentError("a deployed model has no rewriting rules", where=str(path),
                                   remedy="explain the float model it was made from")
    Model.load(path, parameters_of(path, params)).prepare(shapes, report)
    return report


def parameters_of(path: Path, params: str | os.PathLike[str] | None) -> str | None:
    """The parameter file that was given, or the one of our own form beside the model; None leaves it to the bridge."""
    beside = path.with_suffix(SAFETENSORS)
    if params is None and beside.is_file() and not path.name.endswith("-symbol.json"):
        params = beside
    return None if params is None else os.fspath(params)


def describe_model(model: Model, path: str, form: str | None) -> ModelDescription:
    """The description of a loaded model by its graph."""
    module = model.module
    label = {Stage.SOURCE: "float model", Stage.FLOAT: "prepared float model", Stage.INTEGER: "integer model",
             Stage.RESTORED: "integer model with parts in float"}[model.stage]
    tensors = {node.target: getattr(module, node.target) for node in module.graph.nodes if node.op == "get_attr"}
    return ModelDescription(
        path, form or label, count_operators(module), len(tensors), sum(t.numel() for t in tensors.values()),
        sum(t.numel() * t.element_size() for t in tensors.values()),
        NamedShape.of_nodes(input_nodes(module.graph)), NamedShape.of_nodes(output_nodes(module.graph)),
        find_unsupported(module) if model.stage is Stage.SOURCE else ())


def count_operators(module: fx.GraphModule) -> dict[str, int]:
    """Number of nodes by operator name, most frequent first."""
    names = (getattr(node.target, "__name__", str(node.target)) if not hasattr(node.target, "overloadpacket")
             else str(node.target).removesuffix(".default")
             for node in module.graph.nodes if node.op == "call_function")
    return most_frequent_first(names)


def most_frequent_first(names: Any) -> dict[str, int]:
    """Counts of names, the highest first, then by name."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def find_unsupported(module: fx.GraphModule) -> tuple[str, ...]:
    """What stops ``Model.prepare`` on a graph of the source stage, a line for each."""
    try:
        prepare(module)
    except MRTError as error:
        return reasons_of(error)
    return ()


def reasons_of(error: MRTError) -> tuple[str, ...]:
    """The reasons of an error: its list, where it has one, or one line about its node."""
    if error.why and (error.where or "").startswith("first at"):
        return tuple(line.strip() for line in error.why.splitlines() if line.strip())
    return (": ".join(part for part in (error.where, error.what, error.why) if part),)


def parse_shapes(texts: Sequence[str]) -> dict[str, Shape] | Shape | None:
    """Input shapes from texts such as ``"1,3,224,224"`` or ``"data=1,3,224,224"``; None for no text.

    Raises:
        InvalidArgumentError: a text is no shape, or a shape without a name stands beside others.
    """
    shapes: dict[str, Shape] = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        try:
            shape = tuple(int(number) for number in numbers.strip("()").split(",") if number.strip())
        except ValueError:
            shape = ()
        if not shape:
            raise InvalidArgumentError(f"'{text}' is no shape", remedy="write it as 1,3,224,224 or data=1,3,224,224")
        shapes[name] = shape
    if "" in shapes:
        if len(texts) > 1:
            raise InvalidArgumentError("several shapes need the names of their inputs",
                                       remedy="write each as data=1,3,224,224")
        return shapes[""]
    return shapes or None
