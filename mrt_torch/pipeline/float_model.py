"""The float model that a run starts from."""

from __future__ import annotations

from pathlib import Path

from mrt_torch.errors import InvalidFileError
from mrt_torch.model import Model
from mrt_torch.pipeline.run_configuration import RunConfiguration

# Symbol and parameters of MRT's folders, and as gluon's ``HybridBlock.export`` and ``mrt_torch`` name them.
NAMES = ((".json", ".params"), ("-symbol.json", "-0000.params"), (".json", ".safetensors"))


def load_float_model(configuration: RunConfiguration) -> Model:
    """The model as its files have it.

    Raises:
        InvalidFileError: there are no such files, or they are corrupt.
    """
    symbol_file, params_file = model_files(configuration)
    return Model.load(symbol_file, params_file)


def model_files(configuration: RunConfiguration) -> tuple[Path, Path | None]:
    """The files of the float model: those the configuration names, or those called like the model in its folder.

    Raises:
        InvalidFileError: there are none.
    """
    if configuration.symbol_file is not None:
        named = [path for path in (configuration.symbol_file, configuration.params_file) if path is not None]
        missing = [path for path in named if not path.is_file()]
        if missing:
            raise InvalidFileError("the float model is missing", where="section `DEFAULT`",
                                   why=f"there is no {missing[0]}", remedy="correct Symbol_file or Params_file")
        return configuration.symbol_file, configuration.params_file
    candidates = [tuple(Path(f"{configuration.prefix}{ending}") for ending in endings) for endings in NAMES]
    for pair in candidates:
        if all(path.is_file() for path in pair):
            return pair
    raise InvalidFileError(
        "the float model is missing", where=f"option `Model_name` in section `DEFAULT`: {configuration.model_name}",
        why="there is none of " + "; ".join(" with ".join(map(str, pair)) for pair in candidates),
        remedy="put the files there (nothing is downloaded; a gluon network writes them with net.export), or name them "
               "with Symbol_file and Params_file")
