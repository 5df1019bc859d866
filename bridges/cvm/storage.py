"""Which storage each tensor of a deployed graph uses: reuse of memory that is provably no longer read.

The CVM runtime checks no lifetimes: two live tensors on one storage load without complaint and give wrong
results. The rules kept here: a storage is not written before the last reader of what it holds has run; a
variable never shares its storage (parameters are loaded once and must survive every inference); what a head
reads stays to the end; an operator shares a storage with its own input only where the runtime allows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bridges.cvm.symbol_file import INPUT_NAME, Shape, SymbolNode
from mrt_torch.cvm.operator import OPERATORS

BYTES_PER_ELEMENT = 4
LARGEST_STORAGE = 2 ** 32  # bytes; a limit of the runtime


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in order of execution.

    Attributes:
        elements: number of elements (int32 each).
        inputs: indices of the tensors its operator reads, and of the operator's outputs before this one, which
            must outlast the writing of all; empty for a variable.
        variable: an input or parameter of the model.
        in_place: the operator may write over an input of the same size.
        reloaded: the input of the model, which is written before every run.
    """

    elements: int
    inputs: tuple[int, ...] = ()
    variable: bool = False
    in_place: bool = False
    reloaded: bool = False


def stored_tensors(nodes: Sequence[SymbolNode], shapes: Sequence[Shape]) -> list[StoredTensor]:
    """The tensors of a graph: one for each output of each node, which ``shapes`` has in order."""
    tensors: list[StoredTensor] = []
    offsets = []
    for node in nodes:
        offsets.append(len(tensors))
        reads = [offsets[index] + output for index, output in node.inputs]
        for output in range(node.outputs):
            tensors.append(StoredTensor(
                math.prod(shapes[len(tensors)]), (*reads, *range(offsets[-1], offsets[-1] + output)), node.is_variable,
                in_place=not node.is_variable and OPERATORS[node.operator].in_place,
                reloaded=node.is_variable and node.name == INPUT_NAME))
    return tensors


def plan_storage(tensors: Sequence[StoredTensor], heads: Iterable[int]) -> list[int]:
    """Storage ids, one for each tensor: operators' results count from 0, variables come after them.

    Best fit: the smallest free storage that is large enough, else the largest free one grows, else a new one.
    """
    last_readers = _last_readers(tensors, heads)
    sizes: list[int] = []
    free: list[int] = []
    ids = [-1] * len(tensors)
    for index, tensor in enumerate(tensors):
        if tensor.variable:
            continue
        expiring = sorted({i for i in tensor.inputs if last_readers[i] == index and not tensors[i].variable})
        reused = next((i for i in expiring
                       if tensor.in_place and tensors[i].elements == tensor.elements), None)
        if reused is not None:
            ids[index] = ids[reused]
        else:
            ids[index] = _take_best_fit(tensor.elements, free, sizes)
        free += [ids[i] for i in expiring if i != reused]
        if last_readers[index] == index:
            free.append(ids[index])
    next_id = len(sizes)
    for index, tensor in enumerate(tensors):
        if tensor.variable:
            ids[index], next_id = next_id, next_id + 1
    return ids


def _last_readers(tensors: Sequence[StoredTensor], heads: Iterable[int]) -> list[int]:
    """For each tensor the index of the last operator that reads it: itself when none does, past the end for a
    head.
    """
    last = list(range(len(tensors)))
    for index, tensor in enumerate(tensors):
        for read in tensor.inputs:
            last[read] = index
    for head in heads:
        last[head] = len(tensors)
    return last


def _take_best_fit(elements: int, free: list[int], sizes: list[int]) -> int:
    large_enough = [i for i in free if sizes[i] >= elements]
    if large_enough:
        chosen = min(large_enough, key=lambda i: (sizes[i], i))
    elif free:
        chosen = max(free, key=lambda i: (sizes[i], -i))
    else:
        sizes.append(elements)
        return len(sizes) - 1
    free.remove(chosen)
    sizes[chosen] = max(sizes[chosen], elements)
    return chosen


def storage_bytes(tensors: Sequence[StoredTensor], ids: Sequence[int]) -> int:
    """Memory the runtime allocates for a plan: every storage as large as the largest tensor on it."""
    sizes: dict[int, int] = {}
    for tensor, storage in zip(tensors, ids, strict=True):
        sizes[storage] = max(sizes.get(storage, 0), tensor.elements)
    return BYTES_PER_ELEMENT * sum(sizes.values())


def check_storage(tensors: Sequence[StoredTensor], heads: Iterable[int], ids: Sequence[int]) -> list[str]:
    """Reasons why a plan is unsafe; empty when it is safe.

    Runs the graph twice on names instead of numbers: each storage remembers which tensor it holds, and every
    read must find the tensor it asks for. Parameters are loaded before the first run only, the input before each.
    """
    if len(ids) != len(tensors):
        return [f"{len(ids)} storage ids for {len(tensors)} tensors"]
    problems = [f"tensor {index} has the negative storage id {ids[index]}"
                for index in range(len(tensors)) if ids[index] < 0]
    holder: dict[int, int] = {}
    for index, tensor in enumerate(tensors):
        if tensor.variable:
            if ids[index] in holder:
                problems.append(f"variables {holder[ids[index]]} and {index} share storage {ids[index]}")
            holder[ids[index]] = index
    for run in ("first", "second"):
        holder.update({ids[index]: index for index, tensor in enumerate(tensors) if tensor.reloaded})
        for index, tensor in enumerate(tensors):
            if tensor.variable:
                continue
            for read in tensor.inputs:
                if holder.get(ids[read]) != read:
                    problems.append(f"{run} run: {index} reads {read}, but storage {ids[read]} holds "
                                    f"{holder.get(ids[read])}")
                if ids[read] == ids[index] and not tensor.in_place:
                    problems.append(f"{index} writes over its input {read} and may not")
            holder[ids[index]] = index
        problems += [f"{run} run: head {head} was overwritten by {holder.get(ids[head])}"
                     for head in heads if holder.get(ids[head]) != head]
    return problems
