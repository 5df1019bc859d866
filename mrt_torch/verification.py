"""Whether every way to run a quantized model gives the same integers: here, from its files, and by other programs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from mrt_torch.cvm.verify import verify
from mrt_torch.deployment import reduce_graph
from mrt_torch.errors import InvalidArgumentError, MissingDependencyError, MRTError
from mrt_torch.executors import executors
from mrt_torch.graph.editor import input_nodes, output_nodes, shape_of
from mrt_torch.graph.facts import facts_of
from mrt_torch.graph.free_axis import free_axis, is_batch_free
from mrt_torch.graph.stage import Stage
from mrt_torch.input_data import check_shape
from mrt_torch.model import Model
from mrt_torch.quantization.restore import float_nodes
from mrt_torch.simulation import load_real_data

CVM, MXNET = "cvm", "mxnet"
Outputs = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class WayResult:
    """What one way of computing the outputs gave.

    Attributes:
        title: the way.
        differing: output integers that differ from those of the integer graph; None where it did not run.
        not_installed: what would be needed to run it.
        refused: the error that the way answered with.
        outputs: the integers of each head, where they have the shapes of the integer graph's.
    """

    title: str
    differing: int | None = None
    not_installed: str = ""
    refused: str = ""
    outputs: Outputs | None = field(default=None, repr=False, compare=False)

    @property
    def failed(self) -> bool:
        """Whether it gave other integers, or an error."""
        return bool(self.differing or self.refused)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values, without the outputs."""
        return {"title": self.title, "differing": self.differing, "not_installed": self.not_installed,
                "refused": self.refused}


@dataclass(frozen=True)
class VerificationReport:
    """All ways against the integer graph.

    Attributes:
        examples, integers: how many inputs were computed, and output integers in all.
        certificate: what the proof of the graph, or of what is deployed, lacks, see ``mrt_torch.cvm.verify``; empty
            when it holds.
        results: a result for each way.
    """

    examples: int
    integers: int
    certificate: str
    results: tuple[WayResult, ...]

    @property
    def agree(self) -> bool:
        """Whether the certificate holds, and every way that ran gave the same integers."""
        return not self.certificate and not any(result.failed for result in self.results)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {"agree": self.agree, "examples": self.examples, "integers": self.integers,
                "certificate": self.certificate, "results": [result.to_json() for result in self.results]}


def verify_model(model: Model, integers: torch.Tensor, exports: Mapping[str, str | os.PathLike[str]] | None = None
                 ) -> VerificationReport:
    """Run a quantized model in every way there is, and compare all outputs bit for bit.

    Args:
        model: quantized as a whole.
        integers: legal inputs, see ``random_inputs`` and ``legal_inputs``.
        exports: files of the model that are there already: its CVM folder as "cvm", its symbol file as "mxnet". What
            is missing is written to a temporary folder.

    Raises:
        InvalidArgumentError: the model is not quantized, has parts in float or several inputs, or the inputs do not
            fit.
    """
    source = input_of(model)
    check_shape(integers, source)
    reference = run_graph(model.module, integers)
    shape = deployed_shape(model, integers)
    certificate = ""
    try:
        verify(model.module, deployable=False)
        verify(reduce_graph(model, shape).module)
    except MRTError as error:
        certificate = str(error)
    with tempfile.TemporaryDirectory(prefix="mrt-torch-") as folder:
        files, refused = dict(exports or {}), []
        for form, write in (CVM, write_cvm), (MXNET, write_mxnet):
            try:
                files[form] = files.get(form) or write(model, Path(folder), "model", shape)
            except MRTError as error:
                refused.append(WayResult(f"{form} export", refused=str(error)))
        results = compare_ways(reference, integers, files, None if is_batch_free(model.module) else batch_of(source))
    return VerificationReport(integers.shape[facts_of(source).batch_axis], sum(head.numel() for head in reference),
                              certificate, (*refused, *results))


def compare_ways(reference: Outputs, integers: torch.Tensor, files: Mapping[str, str | os.PathLike[str]],
                 batch: int | None = None) -> tuple[WayResult, ...]:
    """Compare the outputs of exported files, read back and run by every executor, with ``reference``.

    Args:
        reference: integers of each head, from the integer graph.
        integers: the inputs.
        files: the CVM folder as "cvm", the MXNet symbol file as "mxnet".
        batch: examples that the model was written for, where it takes no other number.
    """
    def by_executor(executor: Any) -> Outputs:
        path, several = files[executor.form], executor.form == MXNET and batch is not None
        parts = integers.split(batch) if several else (integers,)
        return joined([[torch.from_numpy(np.asarray(head)) for head in executor.run(path, part.numpy())]
                       for part in parts])

    titles = {CVM: "CVM files, read back", MXNET: "MXNet files, read back"}
    readers = {CVM: Model.load_cvm, MXNET: Model.load}
    ways = [(titles[form], lambda form=form: run_graph(readers[form](files[form]).module, integers))
            for form in titles if form in files]
    ways += [(executor.title, lambda executor=executor: by_executor(executor))
             for executor in executors() if executor.form in files]
    return tuple(compare(title, compute, reference) for title, compute in ways)


def compare(title: str, compute: Callable[[], Outputs], reference: Outputs) -> WayResult:
    """One way against the reference. Of several heads, which the CVM flattens to rows, only the order counts."""
    try:
        outputs = compute()
    except MissingDependencyError as error:
        return WayResult(title, not_installed=f"{error.what} ({error.why})" if error.why else error.what)
    except MRTError as error:
        return WayResult(title, refused=str(error))
    exact = len(reference) == 1
    same = len(outputs) == len(reference) and all(
        (seen.shape == expected.shape) if exact else (seen.numel() == expected.numel())
        for seen, expected in zip(outputs, reference))
    if not same:
        return WayResult(title, sum(head.numel() for head in reference))
    outputs = tuple(seen.to(torch.int64).reshape(expected.shape)
                    for seen, expected in zip(outputs, reference, strict=True))
    differing = sum(int((seen != expected).sum()) for seen, expected in zip(outputs, reference, strict=True))
    return WayResult(title, differing, outputs=outputs)


def run_graph(module: fx.GraphModule, integers: torch.Tensor) -> Outputs:
    """The heads of an integer graph; in slices of its batch, where it takes no other."""
    if is_batch_free(module):
        return tuple(module(integers))
    return joined([module(part) for part in integers.split(batch_of(input_nodes(module.graph)[0]))])


def joined(parts: Sequence[Sequence[torch.Tensor]]) -> Outputs:
    """The heads of several batches, one after another."""
    return tuple(torch.cat(heads) if len(heads) > 1 else heads[0] for heads in zip(*parts, strict=True))


def input_of(model: Model) -> fx.Node:
    """The input of a model that executors can run.

    Raises:
        InvalidArgumentError: the model is not quantized, has parts in float or several inputs.
    """
    if model.stage is not Stage.INTEGER:
        floats = float_nodes(model.module) if model.stage is Stage.RESTORED else ()
        raise InvalidArgumentError("only a model that is integers as a whole gives the same bits everywhere",
                                   where="verification", why=f"in float: {', '.join(floats[:20])}" if floats else
                                   f"saw {model!r}", remedy="quantize the model, without nodes to restore")
    nodes = input_nodes(model.module.graph)
    if len(nodes) != 1:
        raise InvalidArgumentError("a model is verified by its one input", where="verification",
                                   why=f"saw {model.input_names()}",
                                   remedy="call Model.prepare with a shape for each input, which joins them")
    return nodes[0]


def batch_of(source: fx.Node) -> int:
    """Examples in the value of an input."""
    return shape_of(source)[facts_of(source).batch_axis]


def deployed_shape(model: Model, integers: torch.Tensor) -> tuple[int, ...]:
    """Input shape to deploy a model with: one example, where batches can be run one by one, else all of them."""
    source = input_of(model)
    if not is_batch_free(model.module):
        return shape_of(source)
    rows = facts_of(source).batch_axis == 0 and all(free_axis(head) == 0 for head in output_nodes(model.module.graph))
    return (1, *integers.shape[1:]) if rows else tuple(integers.shape)


def whole_batches(model: Model, exports: Mapping[str, str | os.PathLike[str]] | None = None) -> int:
    """The number that examples must be a multiple of: the batch, where the model or its CVM folder takes no other."""
    source = input_of(model)
    return 1 if CVM not in (exports or {}) and is_batch_free(model.module) else batch_of(source)


def random_inputs(model: Model, examples: int, seed: int = 0, multiple: int = 1) -> torch.Tensor:
    """int32 inputs drawn evenly from all legal ones; the first example is the least everywhere, the second the largest.

    The number of examples is rounded up to a multiple of ``multiple``.
    """
    source = input_of(model)
    facts, shape = facts_of(source), list(shape_of(source))
    shape[facts.batch_axis] = -(-examples // multiple) * multiple
    values = facts.value_range
    drawn = torch.randint(values.minimum, values.maximum + 1, shape, generator=torch.Generator().manual_seed(seed),
                          dtype=torch.int32)
    rows = drawn.movedim(facts.batch_axis, 0)
    for row, value in zip(rows[:2], (values.minimum, values.maximum)):
        row.fill_(value)
    return drawn


def legal_inputs(model: Model, data: torch.Tensor, multiple: int = 1) -> torch.Tensor:
    """Inputs of a model from data: floats are quantized with its scale, integers are taken as they are; int32.

    Raises:
        InvalidArgumentError: the data do not fit the input, hold a NaN or illegal integers, or their number is no
            multiple of ``multiple``.
    """
    source = input_of(model)
    check_shape(data, source)
    count, values = data.shape[facts_of(source).batch_axis], facts_of(source).value_range
    if count % multiple:
        raise InvalidArgumentError("the data are no whole batches", where=f"input '{source.name}'",
                                   why=f"saw {count} examples for a model of batch {multiple}",
                                   remedy=f"give a multiple of {multiple} examples")
    if data.is_floating_point():
        return load_real_data(data, source.name, model.record.inputs)
    if data.min() < values.minimum or data.max() > values.maximum:
        raise InvalidArgumentError("the data hold integers that the model does not take",
                                   where=f"input '{source.name}'",
                                   why=f"saw {int(data.min())}..{int(data.max())}, legal are "
                                       f"{values.minimum}..{values.maximum}",
                                   remedy="quantize them with the scale of the input, or give them as floats")
    return data.to(torch.int32)


def write_cvm(model: Model, folder: Path, name: str, shape: Sequence[int]) -> Path:
    """Write the model for the CVM into ``folder/cvm/name``; its folder."""
    return model.to_cvm(name, datadir=folder / "cvm", input_shape=tuple(shape), target="cpu")


def write_mxnet(model: Model, folder: Path, name: str, shape: Sequence[int]) -> Path:
    """Write the model as ``folder/name-symbol.json`` with its parameters; the symbol file. The batch stays free."""
    symbol_file = folder / f"{name}-symbol.json"
    model.save(symbol_file, folder / f"{name}-0000.params")
    return symbol_file
