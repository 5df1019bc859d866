"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Any], Any]

EXISTING = click.Path(exists=True, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
POSITIVE = click.IntRange(min=1)
DEFAULT_BATCH = 16


def examples(*lines: str) -> str:
    """The end of a command's help: lines that can be typed."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class OutputPath(click.Path):
    """``FOLDER/NAME``."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path of a text, if it ends in a name."""
        path = super().convert(value, param, ctx)
        if path.name in ("", ".."):
            self.fail(f"{str(value)!r} does not end in a name", param, ctx)
        return path


class Assignment(click.ParamType):
    """``KEY=VALUE``, as a pair; the value is converted by a type of Python."""

    def __init__(self, key: str, value: Callable[[str], Any], value_name: str):
        self.name, self.value = f"{key}={value_name}", value

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """The pair of a text."""
        if isinstance(value, tuple):
            return value
        key, sign, text = value.partition("=")
        try:
            if not (key and sign):
                raise ValueError
            return key, self.value(text)
        except ValueError:
            self.fail(f"{value!r} is not of the form {self.name}", param, ctx)


def stem_argument(source: Path, suffix: str) -> Path:
    """``FOLDER/NAME`` of a text that may name the file ``FOLDER/NAME<suffix>``."""
    return source.with_name(source.name.removesuffix(suffix)) if source.name.endswith(suffix) else source


def model_arguments(command: Any) -> Any:
    """``MODEL [PARAMS]``: the files of a model."""
    params = click.argument("params", type=EXISTING_FILE, required=False)
    return click.argument("model", type=EXISTING)(params(command))


def output_option(text: str, required: bool = True) -> Decorator:
    """``--output``, with what is written there."""
    return click.option("--output", type=OutputPath(), required=required, help=text)


shape_option: Decorator = click.option(
    "--shape", "shapes", multiple=True, metavar="[NAME=]N,C,H,W",
    help="Shape of the input, or of the input NAME; may be repeated.")
json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dataset_option: Decorator = click.option("--dataset", metavar="NAME", help="A registered data set, such as imagenet.")
dataset_folder_option: Decorator = click.option(
    "--dataset-dir", type=FOLDER, help="Folder of data sets: the files are in DIR/NAME.  [default: ~/.mxnet/datasets]")
batch_option: Decorator = click.option("--batch", type=POSITIVE, default=DEFAULT_BATCH, show_default=True,
                                       help="Examples in a batch.")
