"""How the library meets other frameworks: bridges, found through the entry-point group ``mrt_torch.bridges``.

The core never imports a bridge. A bridge is any object with the attributes of ``Bridge``; a package adds one by
declaring it in that group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from torch import fx, nn

from mrt_torch.errors import InvalidArgumentError, InvalidFileError, MissingDependencyError
from mrt_torch.graph.stage import Stage

GROUP = "mrt_torch.bridges"
Shapes = Mapping[str, Sequence[int]] | Sequence[int] | None


class SourceModel(Protocol):
    """A model as its file gave it; its graph is made once the input shapes are known.

    Attributes:
        stage: ``SOURCE``, or ``INTEGER`` for files of a quantized model; their nodes carry precisions and scales.
    """

    stage: Stage

    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""

    def output_names(self) -> list[str]:
        """Names of the outputs, in order."""

    def import_graph(self, input_shapes: Shapes) -> fx.GraphModule:
        """The graph of the source stage; None takes the shapes the file declares."""


@runtime_checkable
class DivisibleSource(SourceModel, Protocol):
    """A model that can be cut in two before it is imported, so that only the lower half has to be supported."""

    def split(self, keys: Sequence[str], input_shapes: Shapes) -> tuple[SourceModel, SourceModel]:
        """Base, which returns the nodes called ``keys`` in topological order, and top, which takes them.

        The graphs of both are imported without shapes. Top need not be importable.

        Raises:
            InvalidArgumentError: the keys do not cut the model, or its input shapes are not known.
        """

    def save(self, path: str, parameters_path: str) -> None:
        """Write the model in the form of its own framework."""


@runtime_checkable
class Bridge(Protocol):
    """Reads and writes the files of one framework."""

    name: str

    def recognises(self, path: str, parameters_path: str | None) -> bool:
        """Whether the bridge reads, or writes, files of these names."""

    def load(self, path: str, parameters_path: str | None) -> SourceModel:
        """The model of a file."""

    def save(self, module: fx.GraphModule, stage: Stage, path: str, parameters_path: str | None) -> None:
        """Write a graph."""


@runtime_checkable
class ObjectBridge(Protocol):
    """A bridge that also takes models as their framework holds them in memory."""

    def accepts(self, model: Any) -> bool:
        """Whether ``load_object`` takes an object. Must not import the framework."""

    def load_object(self, model: Any, parameters: Any) -> SourceModel:
        """The model of an object, with its parameters where the object does not hold them."""


@cache
def bridges() -> dict[str, Any]:
    """All installed bridges by name."""
    return {entry.name: entry.load() for entry in entry_points(group=GROUP)}


def bridge_called(name: str) -> Any:
    """An installed bridge.

    Raises:
        MissingDependencyError: there is none of that name.
    """
    if name not in bridges():
        raise MissingDependencyError(f"no bridge called '{name}' is installed", why=f"found {sorted(bridges())}",
                                     remedy="install mrt-torch itself (pip install -e . in a checkout), which "
                                            "declares its bridges as entry points")
    return bridges()[name]


def bridge_for(path: str, parameters_path: str | None) -> Bridge:
    """The bridge that knows files of these names.

    Raises:
        InvalidFileError: none does.
    """
    for bridge in bridges().values():
        if isinstance(bridge, Bridge) and bridge.recognises(path, parameters_path):
            return bridge
    raise InvalidFileError("no bridge knows files of these names", where=f"{path}, {parameters_path}",
                           why=f"installed bridges: {', '.join(sorted(bridges())) or 'none'}",
                           remedy="MXNet models are <name>.json with <name>.params; models saved by mrt_torch are "
                                  "<name>.json with <name>.safetensors")


def bridge_for_object(model: Any) -> ObjectBridge:
    """The bridge that takes an object.

    Raises:
        InvalidArgumentError: none does.
    """
    for bridge in bridges().values():
        if isinstance(bridge, ObjectBridge) and bridge.accepts(model):
            return bridge
    remedy = "Model.from_torch takes PyTorch modules" if isinstance(model, nn.Module) else \
        "pass the path of a file, or a model of an installed framework, such as an mx.sym.Symbol"
    raise InvalidArgumentError("no bridge takes the object", why=f"saw {type(model).__module__}.{type(model).__name__}",
                               remedy=remedy)
