"""Models in files: the library's own form, and deployed models read back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from torch import fx

from mrt_torch.bridge import bridge_called
from mrt_torch.errors import InvalidFileError
from mrt_torch.graph.editor import output_nodes, shape_of
from mrt_torch.graph.facts import set_facts, source_name
from mrt_torch.graph.serialization import load_graph, save_graph
from mrt_torch.graph.stage import Stage
from mrt_torch.joined_inputs import JoinedInputs
from mrt_torch.record import QuantizationRecord

if TYPE_CHECKING:
    from mrt_torch.model import Model

SAFETENSORS = ".safetensors"


def read_model(path: str, tensors_path: str) -> dict[str, Any]:
    """What ``write_model`` wrote, as the arguments of ``Model``.

    Raises:
        InvalidFileError: a file is missing, corrupt, or not of this format.
    """
    module, stage, document = load_graph(path, tensors_path)
    document = document if isinstance(document, dict) else {}
    record = _checked(QuantizationRecord.from_json(document.get("quantization"), path), module, stage, path)
    return {"module": module, "stage": stage, "record": record, "prepared": document.get("prepared") is True,
            "joined": JoinedInputs.from_json(document.get("joined_inputs"), module, path)}


def write_model(model: Model, path: str, tensors_path: str) -> None:
    """Write a model as JSON and safetensors; see ``save_graph``."""
    document = {"prepared": model.prepared, "quantization": model.record and model.record.to_json(),
                "joined_inputs": model.joined and model.joined.to_json()}
    save_graph(model.module, model.stage, path, tensors_path, document)


def is_own_form(tensors_path: str) -> bool:
    """Whether a file of parameters is one that ``write_model`` wrote, by its name or by its first bytes.

    A safetensors file begins with the length of its header, 8 bytes, and the ``{`` of the header.
    """
    if tensors_path.endswith(SAFETENSORS):
        return True
    try:
        with open(tensors_path, "rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def read_deployed(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """A deployed CVM model, as the arguments of ``Model``.

    Raises:
        InvalidFileError: a file is missing or corrupt.
        UnsupportedOperatorError: lists operators outside the integer stage.
    """
    where = os.fspath(directory)
    module, extension = bridge_called("cvm").load(where)
    extension = extension or {}
    names = _name_outputs(module, extension.get("output_names"))
    record = QuantizationRecord.from_json({
        "inputs": extension.get("inputs_ext", {}), "output_scales": extension.get("oscales", [1.0] * len(names)),
        "maps": dict(zip(names, names, strict=True)), "output_shapes": extension.get("output_shapes", ())}, where)
    return {"module": module, "stage": Stage.INTEGER, "record": _checked(record, module, Stage.INTEGER, where),
            "prepared": True, "joined": JoinedInputs.from_json(extension.get("joined_inputs"), module, where)}


def _name_outputs(module: fx.GraphModule, given: Any) -> list[str]:
    """Give the outputs the names of the extension, where it has one for each: the symbol file names only operators."""
    outputs = output_nodes(module.graph)
    if isinstance(given, list) and len(given) == len(outputs) and all(isinstance(name, str) for name in given):
        for node, name in zip(outputs, given, strict=True):
            set_facts(node, source_name=name)
    return [source_name(node) for node in outputs]


def extension_of(model: Model) -> dict[str, Any]:
    """What a deployed model needs beside its graph, as JSON values: scales, shapes, and inputs that were joined."""
    extension: dict[str, Any] = {
        "inputs_ext": {name: dict(values) for name, values in model.record.inputs.items()},
        "oscales": list(model.record.output_scales),
        "input_shapes": {name: list(shape) for name, shape in model.input_shapes().items()},
        "output_names": model.output_names()}
    if model.joined:
        extension["joined_inputs"] = model.joined.to_json()
    return extension


def _checked(record: QuantizationRecord | None, module: fx.GraphModule, stage: Stage, where: str
             ) -> QuantizationRecord | None:
    """The record of a file, if it is what a graph of that stage needs."""
    if stage not in (Stage.INTEGER, Stage.RESTORED):
        return record
    if record is None:
        raise InvalidFileError("the scales of a quantized model are missing", where=where,
                               why="the graph is quantized and the file has no 'quantization'",
                               remedy="save the model again")
    record.check_outputs([shape_of(node) for node in output_nodes(module.graph)], where)
    return record
