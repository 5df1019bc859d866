"""Writes an integer graph as a deployed CVM model: a folder with ``symbol``, ``params`` and ``ext``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from bridges.cvm.heads import flatten_heads
from bridges.cvm.lowering import lower
from bridges.cvm.params_file import format_params
from bridges.cvm.symbol_file import format_symbol
from mrt_torch.atomic_file import atomic_directory
from mrt_torch.cvm.verify import verify
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.extension_file import save_ext
from mrt_torch.graph.editor import input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import facts_of

SYMBOL_FILE, PARAMS_FILE, EXTENSION_FILE, DATA_FILE = "symbol", "params", "ext", "data.npy"
DEPLOYED_FILES = {SYMBOL_FILE, PARAMS_FILE, EXTENSION_FILE, DATA_FILE}
SMALL_INPUT = 8  # bits of an input that the runtime reads as int8; a wider one it reads as int32


def export_cvm(graph_module: fx.GraphModule, directory: str | os.PathLike[str], *,
               extension: Mapping[str, Any], data: torch.Tensor | None = None) -> Path:
    """Write an integer graph in the format of the CVM runtime and return its folder.

    The batch is fixed to that of the graph's values. Several heads are flattened to rows (``flatten_heads``).
    ``ext`` gets one line of JSON, the extension with ``output_shapes`` added: the heads' shapes before
    flattening. Same graph, same bytes. Nothing is written unless the graph passed verification, and nothing
    is left behind by a failure; the folder appears complete, in place of an older export of the same name.

    Args:
        graph_module: analysed integer graph with one input; not changed.
        directory: folder to create.
        extension: JSON values the deployed model needs beside its graph: ``inputs_ext``, ``oscales``,
            ``input_shapes``.
        data: integers of a sample input, for ``data.npy``: int8 where the input has 8 bits or less, else int32, as the
            runtime takes it.

    Raises:
        ExportError: lists every reason why the runtime would refuse the graph, or compute other integers.
        InvalidArgumentError: the folder holds files that are no part of a deployed model.
    """
    directory = Path(directory)
    verify(graph_module)
    heads = output_nodes(graph_module.graph)
    deployed = flatten_heads(graph_module)
    if len(heads) > 1:
        verify(deployed)
    symbol, parameters = lower(deployed)
    symbol_text, params_bytes = format_symbol(symbol), format_params(parameters)
    shapes = [list(shape_of(head)) for head in heads]
    _check_replaceable(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with atomic_directory(directory) as folder:
        (folder / SYMBOL_FILE).write_bytes(symbol_text.encode("ascii"))
        (folder / PARAMS_FILE).write_bytes(params_bytes)
        save_ext(folder / EXTENSION_FILE, {**extension, "output_shapes": shapes})
        if data is not None:
            small = facts_of(input_nodes(graph_module.graph)[0]).precision <= SMALL_INPUT
            np.save(folder / DATA_FILE, data.numpy().astype(np.int8 if small else np.int32))
    return directory


def _check_replaceable(directory: Path) -> None:
    """A folder is replaced as a whole: refuse one that holds something else than a deployed model."""
    if directory.is_dir():
        foreign = sorted(entry.name for entry in directory.iterdir() if entry.name not in DEPLOYED_FILES)
        if foreign:
            raise InvalidArgumentError("the folder holds files that are no part of a deployed model",
                                       where=str(directory), why=f"found {foreign[:5]}",
                                       remedy="give the name of a new folder")
