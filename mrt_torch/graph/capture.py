"""Captures a PyTorch module as a graph of canonical ATen operators."""

from __future__ import annotations

import inspect
import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.utils import _pytree as pytree

from mrt_torch.errors import InvalidArgumentError, UnsupportedOperatorError
from mrt_torch.graph.batch_axis import BatchAxis
from mrt_torch.graph.canonicalize import canonicalize
from mrt_torch.graph.free_axis import is_batch_free

logger = logging.getLogger(__name__)

_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
# Batches 0 and 1 are special to torch.export; 2 is the smallest that stands for any.
SMALLEST_TRACED_BATCH = 2
# Kernels may sum in another order for another batch: equal within this part of the largest value counts as equal.
AGREEMENT = 1e-4


def capture(module: nn.Module, example_inputs: torch.Tensor | Sequence[torch.Tensor],
            batch_axis: int = 0) -> fx.GraphModule:
    """The float graph of a module in evaluation mode.

    ``batch_axis`` of every input is the batch and stays free; a module that works for one batch only is captured for
    the batch of the example, with a warning. The module itself is left as it is; the graph shares its tensors.

    Args:
        module: any module that ``torch.export`` can trace.
        example_inputs: one tensor, or one for each positional argument of ``forward``; their values do not matter.
        batch_axis: axis of the batch in every input, not negative.

    Returns:
        A GraphModule whose buffers are named after the module's parameters and whose placeholders after the
        arguments of ``forward``. It returns a tuple: the tensors of the module's output, nested ones in order.

    Raises:
        InvalidArgumentError: the module is no module, or the examples are no tensors with a common, non-empty batch.
        UnsupportedOperatorError: the module cannot be traced, or does in place what no functional graph expresses.
    """
    if not isinstance(module, nn.Module):
        raise InvalidArgumentError("capture takes a torch.nn.Module", why=f"saw {type(module).__name__}",
                                   remedy="pass the module itself, not its state dict or a function")
    module = _unwrapped(module)
    examples = _checked_examples(example_inputs, batch_axis)
    arguments = _bound_arguments(module, examples)
    with _evaluation_mode(module), torch.no_grad():
        graph = _capture_free(module, examples, arguments, batch_axis)
    logger.info("captured %s: %d nodes", type(module).__name__, len(graph.graph.nodes))
    return graph


def _unwrapped(module: nn.Module) -> nn.Module:
    """The user's own module inside DataParallel and torch.compile, whose names would otherwise gain a prefix."""
    module = getattr(module, "_orig_mod", module)
    return module.module if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)) else module


def _checked_examples(example_inputs: Any, batch_axis: int) -> tuple[torch.Tensor, ...]:
    examples = (example_inputs,) if isinstance(example_inputs, torch.Tensor) else example_inputs
    remedy = "pass a tensor such as torch.zeros(1, 3, 32, 32), or a tuple with one for each argument of forward"
    if not isinstance(examples, (tuple, list)) or not examples \
            or not all(isinstance(example, torch.Tensor) for example in examples):
        seen = [type(example).__name__ for example in examples] if isinstance(examples, (tuple, list)) \
            else type(examples).__name__
        raise InvalidArgumentError("the example inputs are not tensors", why=f"saw {seen}", remedy=remedy)
    shapes = [tuple(example.shape) for example in examples]
    if any(not 0 <= batch_axis < len(shape) for shape in shapes):
        raise InvalidArgumentError("an example input has no batch axis", why=f"the shapes are {shapes}",
                                   remedy=f"axis {batch_axis} of every input is the batch: " + remedy)
    if any(0 in shape for shape in shapes):
        raise InvalidArgumentError("an example input is empty", why=f"the shapes are {shapes}", remedy=remedy)
    if len({shape[batch_axis] for shape in shapes}) > 1:
        raise InvalidArgumentError("the example inputs differ in their batch", why=f"the shapes are {shapes}",
                                   remedy=f"axis {batch_axis} is the batch of every input, and must be the same")
    return tuple(example.detach() for example in examples)


def _bound_arguments(module: nn.Module, examples: tuple[torch.Tensor, ...]) -> dict[str, Any]:
    """Examples by argument of forward; a tuple of them for ``*args``."""
    try:
        return dict(inspect.signature(module.forward).bind(*examples).arguments)
    except TypeError as error:
        raise InvalidArgumentError(
            "the example inputs do not fit forward", where=f"{type(module).__name__}.forward", why=str(error),
            remedy="give one tensor for each argument without a default") from error


@contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    training = {part: part.training for part in module.modules()}
    try:
        module.eval()
        yield
    finally:
        for part, flag in training.items():
            part.training = flag


@contextmanager
def _without_torch_logs() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(max(level, logging.ERROR))
    try:
        yield
    finally:
        logging.disable(level)


def _capture_free(module: nn.Module, examples: tuple[torch.Tensor, ...], arguments: dict[str, Any],
                  batch_axis: int) -> fx.GraphModule:
    batch = examples[0].shape[batch_axis]
    repeats = max(1, SMALLEST_TRACED_BATCH // batch)
    repeated = pytree.tree_map(lambda example: torch.cat([example] * repeats, batch_axis), arguments)
    free = {batch_axis: Dim("batch")}
    shapes = pytree.tree_map(lambda example: free, arguments)
    try:
        with _without_torch_logs():  # a failure is handled here
            program = _export(module, pytree.tree_leaves(repeated), shapes)
    except Exception as error:
        logger.debug("export with a free batch failed: %s", error)
        return _capture_fixed(module, examples, error, batch_axis)
    symbol = _batch_symbol(program, batch_axis)
    graph = canonicalize(program, _tensors(module, program), BatchAxis(batch * repeats, symbol, axis=batch_axis))
    if not is_batch_free(graph):
        logger.warning("%s: an output does not follow the batch of the input", type(module).__name__)
    return graph


def _capture_fixed(module: nn.Module, examples: tuple[torch.Tensor, ...], reason: Exception,
                   batch_axis: int) -> fx.GraphModule:
    """For a module that works for one batch only: its graph for other batches where that is as good, else as it is."""
    batch = examples[0].shape[batch_axis]
    try:
        program = _export(module, list(examples), None)
    except Exception as error:
        raise _untraceable(module, error) from error
    tensors = _tensors(module, program)
    graph = canonicalize(program, tensors, BatchAxis(batch, None, assume_free=True, axis=batch_axis))
    if is_batch_free(graph) and batch_axis == 0 and _agrees(graph, module, examples):
        logger.warning("%s works for batch %d only (%s); its graph takes any batch, and gives each %d samples what the "
                       "module gives them", type(module).__name__, batch, _first_line(reason), batch)
        return graph
    logger.warning("%s is captured for batch %d only, because its code fixes the batch: %s", type(module).__name__,
                   batch, _first_line(reason))
    return canonicalize(program, tensors, BatchAxis(batch, None, axis=batch_axis))


def _export(module: nn.Module, examples: list[torch.Tensor], shapes: Any) -> ExportedProgram:
    options: dict[str, Any] = {"dynamic_shapes": shapes}
    if "strict" in inspect.signature(export).parameters:
        options["strict"] = False
    return export(module, tuple(examples), **options)


def _batch_symbol(program: ExportedProgram, batch_axis: int) -> object:
    names = program.graph_signature.user_inputs
    first = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name in names)
    return first.meta["val"].shape[batch_axis].node.expr


def _tensors(module: nn.Module, program: ExportedProgram) -> dict[str, torch.Tensor]:
    """Every tensor the program names: the module's own where it has them, else the constants export lifted."""
    constants = {name: value for name, value in program.constants.items() if isinstance(value, torch.Tensor)}
    return {**program.state_dict, **constants, **dict(module.named_buffers(remove_duplicate=False)),
            **dict(module.named_parameters(remove_duplicate=False))}


def _agrees(graph: fx.GraphModule, module: nn.Module, examples: tuple[torch.Tensor, ...]) -> bool:
    """True when the graph at twice the batch gives what the module gives for each half."""
    halves = [examples, tuple(_varied(example) for example in examples)]
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}  # the run must not change the module's
    try:
        expected = [pytree.tree_leaves(torch.func.functional_call(module, buffers, half)) for half in halves]
    except Exception as error:
        raise InvalidArgumentError("the module refuses the example inputs", where=type(module).__name__,
                                   why=_first_line(error),
                                   remedy="pass inputs with which the module itself runs") from error
    expected = [[value for value in half if isinstance(value, torch.Tensor)] for half in expected]
    actual = graph(*(torch.cat(pair) for pair in zip(*halves, strict=True)))
    return all(_close(value, torch.cat(parts)) for value, *parts in zip(actual, *expected, strict=True))


def _varied(example: torch.Tensor) -> torch.Tensor:
    """Other values of the same kind: floats away from the example, whole numbers in another order."""
    if not example.is_floating_point():
        return example.flip(0)
    generator = torch.Generator().manual_seed(0)
    return example + torch.randn(example.shape, generator=generator).to(example)


def _close(value: torch.Tensor, expected: torch.Tensor) -> bool:
    if value.shape != expected.shape or not value.numel():
        return False
    difference = (value.double() - expected.double()).abs().max()
    return bool(difference <= AGREEMENT * expected.double().abs().max().clamp(min=1e-12))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _untraceable(module: nn.Module, error: Exception) -> UnsupportedOperatorError:
    return UnsupportedOperatorError(
        f"{type(module).__name__} cannot be traced by torch.export", where=_user_line(error), why=_first_line(error),
        remedy="branches on tensor values, data-dependent shapes and non-torch computations cannot be traced: write "
               "them without, or capture only the part of the model before them")


def _user_line(error: BaseException | None) -> str | None:
    """The innermost line of the user's own code on the way to an error."""
    while error is not None:
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            path = os.path.abspath(frame.filename)
            if not path.startswith((_TORCH, _OURS)) and os.sep in frame.filename:
                return f'File "{frame.filename}", line {frame.lineno}, in {frame.name}: {frame.line}'
        error = error.__cause__ or error.__context__
    return None
