"""The files that MODEL and PARAMS name."""

from __future__ import annotations

from pathlib import Path

from mrt_torch.bridge import Shapes
from mrt_torch.inspection import parameters_of
from mrt_torch.model import Model
from mrt_torch.model_file import SAFETENSORS


def load_model(path: Path, params: Path | None = None, shapes: Shapes = None) -> Model:
    """The model of a file, or of the folder of a deployed CVM model, not prepared.

    Args:
        path: the file or folder.
        params: the parameter file; None looks for it beside ``path``.
        shapes: input shapes of a float model whose file declares none, or another batch.

    Raises:
        InvalidFileError: a file is missing, corrupt, or of no known format.
        InvalidArgumentError: the shapes do not fit the model's inputs.
    """
    model = Model.load_cvm(path) if path.is_dir() else Model.load(path, parameters_of(path, params))
    return model if shapes is None or model.is_quantized else model.with_input_shape(shapes)


def load_prepared(path: Path, params: Path | None = None, shapes: Shapes = None) -> Model:
    """A float model, prepared; one that was saved prepared is taken as it is, unless ``shapes`` changes its batch.

    Raises:
        InvalidFileError: a file is missing, corrupt, or of no known format.
        UnsupportedOperatorError: lists everything that has no integer form.
        InvalidArgumentError: the shapes do not fit, or the model is quantized.
    """
    model = load_model(path, params)
    if shapes is not None or not model.prepared or model.is_quantized:
        model.prepare(shapes)
    return model


def saved_files(output: Path) -> tuple[Path, Path]:
    """``FOLDER/NAME.json`` and ``FOLDER/NAME.safetensors``; the folder is made where there is none."""
    output.parent.mkdir(parents=True, exist_ok=True)
    return output.with_name(output.name + ".json"), output.with_name(output.name + SAFETENSORS)
