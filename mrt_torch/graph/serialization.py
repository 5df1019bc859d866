"""Graphs of any stage as JSON, their tensors as safetensors: nothing in the files is ever executed.

Targets are written by name and looked up in closed sets when read: the operators with a Transformer, the CVM
operators, and the few that only live between stages.
"""

from __future__ import annotations

import json
import keyword
import math
import operator
import os
from pathlib import Path
from typing import Any

import torch
from torch import fx

from mrt_torch.atomic_file import atomic_write
from mrt_torch.cvm import OPERATORS, Interval
from mrt_torch.errors import InvalidArgumentError, InvalidFileError, MRTError
from mrt_torch.graph.editor import empty_graph_module
from mrt_torch.graph.facts import FACTS, NodeFacts, describe
from mrt_torch.graph.finite import check_finite
from mrt_torch.graph.shapes import infer_value, meta_tensor
from mrt_torch.graph.stage import Stage, check_stage

FORMAT = "mrt_torch 1"
KEPT_META = ("stack_trace",)
MOST_PARTS = 2 ** 15  # of all tensors that a graph splits; far above any network


def _targets() -> dict[str, Any]:
    from mrt_torch.ops.registry import TRANSFORMERS  # the operators import this package
    known = [target for target, _ in TRANSFORMERS if not isinstance(target, str)]
    known += [row.target for row in OPERATORS]
    known += [torch.ops.mrt.dequantize.default, torch.ops.mrt.quantize.default, torch.ops.aten.split.Tensor,
              torch.ops.aten.split_with_sizes.default, torch.ops.aten.chunk.default]
    return {str(target): target for target in known} | {"getitem": operator.getitem}


def save_graph(module: fx.GraphModule, stage: Stage, path: str | os.PathLike[str],
               tensors_path: str | os.PathLike[str], record: Any = None) -> None:
    """Write a graph and a JSON record to ``path`` and the tensors to ``tensors_path``; same graph, same bytes.

    Raises:
        InvalidArgumentError: the graph holds a target or argument that has no written form.
    """
    from safetensors.torch import save
    document = {"format": FORMAT, "stage": stage.value, "nodes": graph_nodes(module), "record": record}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(module.named_buffers())}
    text = json.dumps(document, indent=1, allow_nan=False)
    atomic_write(tensors_path, save(tensors))
    atomic_write(path, text.encode())


def graph_nodes(module: fx.GraphModule) -> list[dict[str, Any]]:
    """The nodes of a graph as JSON objects, in order.

    Raises:
        InvalidArgumentError: the graph holds a target or argument that has no written form.
    """
    names = {target: name for name, target in _targets().items()}
    return [_write_node(node, names) for node in module.graph.nodes]


def load_graph(path: str | os.PathLike[str], tensors_path: str | os.PathLike[str]) -> tuple[fx.GraphModule, Stage, Any]:
    """The graph, its stage and its record.

    Raises:
        InvalidFileError: a file is missing, corrupt, or not of this format.
    """
    document, tensors = _read_document(path), _read_tensors(tensors_path)
    module, known = empty_graph_module(), _targets()
    nodes: dict[str, fx.Node] = {}
    parts = 0
    try:
        stage = Stage(document["stage"])
        for entry in document["nodes"]:
            node = nodes[_identifier(entry["name"])] = _read_node(entry, module, nodes, tensors, known)
            parts += _announced_parts(node)
            if parts > MOST_PARTS:
                raise ValueError(f"the graph splits tensors into more than {MOST_PARTS} parts")
            _infer(node, module)
        if [node.op for node in module.graph.nodes].index("output") != len(document["nodes"]) - 1:
            raise ValueError("the output is not the last node, or not the only one")
        module.graph.lint()
        check_stage(module, stage)
        if stage is Stage.FLOAT:
            check_finite(module)
        module.recompile()
    except MRTError as error:
        raise InvalidFileError("the saved graph is not valid", where=str(path), why=str(error),
                               remedy="save the model again") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, RuntimeError,
            SyntaxError, MemoryError) as error:
        raise InvalidFileError("the saved graph cannot be read", where=str(path),
                               why=f"{type(error).__name__}: {error}", remedy="save the model again") from error
    return module, stage, document.get("record")


def _read_document(path: str | os.PathLike[str]) -> dict:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError("the file cannot be read as JSON", where=str(path),
                               why=str(error) or "it is nested too deeply",
                               remedy="save the model again, or fetch the file again") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InvalidFileError("the file is no saved graph", where=str(path), why=f"expected format '{FORMAT}'",
                               remedy="load MXNet models by their -symbol.json and .params files")
    return document


def _read_tensors(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load
    try:
        return load(Path(path).read_bytes())
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise InvalidFileError("the tensors cannot be read", where=str(path), why=str(error),
                               remedy="keep the .safetensors file that was written with the graph") from error


def _write_node(node: fx.Node, names: dict[Any, str]) -> dict:
    target = node.target
    if node.op == "call_function":
        if target not in names:
            raise InvalidArgumentError(f"{target} has no written form", where=describe(node),
                                       why="it is no operator of the library, and has no Transformer",
                                       remedy="register a Transformer for it")
        target = names[target]
    entry = {"name": node.name, "op": node.op, "target": target}
    entry["args"], entry["kwargs"] = _write(node.args), _write(node.kwargs)
    entry["facts"] = _write_facts(node.meta.get(FACTS))
    entry["meta"] = {key: node.meta[key] for key in KEPT_META if isinstance(node.meta.get(key), str)}
    if node.op == "placeholder":
        value = node.meta["val"]
        entry["shape"], entry["dtype"] = list(value.shape), str(value.dtype).removeprefix("torch.")
    return entry


def _write_facts(facts: NodeFacts | None) -> dict:
    written = {key: value for key, value in vars(facts or NodeFacts()).items()
               if value is not None and (key, value) != ("batch_axis", 0)}
    if "output_names" in written:
        written["output_names"] = list(written["output_names"])
    if "value_range" in written:
        written["value_range"] = [written["value_range"].minimum, written["value_range"].maximum]
    return written


def _write(argument: Any) -> Any:
    """JSON form of an argument: nodes, dtypes and infinities are one-key objects, tuples become lists."""
    if isinstance(argument, fx.Node):
        return {"node": argument.name}
    if isinstance(argument, torch.dtype):
        return {"dtype": str(argument).removeprefix("torch.")}
    if isinstance(argument, float) and not math.isfinite(argument):
        return {"float": repr(argument)}
    if isinstance(argument, (list, tuple)):
        return [_write(item) for item in argument]
    if isinstance(argument, dict):
        return {"mapping": {key: _write(value) for key, value in argument.items()}}
    if argument is None or isinstance(argument, (bool, int, float, str)):
        return argument
    raise InvalidArgumentError("an argument has no written form", where="the arguments of a node",
                               why=f"saw {type(argument).__name__}: {argument!r}",
                               remedy="pass numbers, texts, lists, dtypes and nodes")


def _read(argument: Any, nodes: dict[str, fx.Node]) -> Any:
    if isinstance(argument, list):
        return [_read(item, nodes) for item in argument]
    if isinstance(argument, dict):
        (kind, value), = argument.items()
        if kind == "node":
            return nodes[value]
        if kind == "dtype":
            return _dtype(value)
        if kind == "float":
            return float(value)
        return {key: _read(item, nodes) for key, item in value.items()}
    return argument


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"unknown dtype {name!r}")
    return dtype


def _identifier(name: Any) -> str:
    """A name, if it is one: fx writes names into the code that it compiles, so anything else could be executed."""
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii() or keyword.iskeyword(name):
        raise ValueError(f"{name!r} is not the name of a node")
    return name


def _read_node(entry: dict, module: fx.GraphModule, nodes: dict[str, fx.Node], tensors: dict[str, torch.Tensor],
               known: dict[str, Any]) -> fx.Node:
    op, target = entry["op"], entry["target"]
    args, kwargs = tuple(_read(entry["args"], nodes)), _read(entry["kwargs"], nodes)
    if op == "output":
        if not args[0] or not all(isinstance(item, fx.Node) for item in args[0]):
            raise ValueError("the output is not a list of nodes")
        node = module.graph.output(tuple(args[0]))
    elif op == "call_function":
        node = module.graph.create_node(op, known[target], args, kwargs, entry["name"])
    elif op in ("placeholder", "get_attr"):
        node = module.graph.create_node(op, _identifier(target), (), {}, entry["name"])
    else:
        raise ValueError(f"unknown kind of node {op!r}")
    if op == "placeholder":
        node.meta["val"] = meta_tensor(entry["shape"], _dtype(entry["dtype"]), f"input '{target}'")
    if op == "get_attr":
        module.register_buffer(target, tensors[target])
    node.meta[FACTS] = _read_facts(entry["facts"])
    node.meta.update({key: str(value) for key, value in entry["meta"].items() if key in KEPT_META})
    return node


def _infer(node: fx.Node, module: fx.GraphModule) -> None:
    if node.op == "get_attr":
        node.meta["val"] = torch.empty_like(getattr(module, node.target), device="meta")
    elif node.op == "call_function":
        node.meta["val"] = infer_value(node)
    elif node.op == "output":
        node.meta["val"] = fx.map_arg(node.args[0], lambda returned: returned.meta["val"])


def _announced_parts(node: fx.Node) -> int:
    """How many tensors a split makes: a few characters can announce more than fit into memory."""
    if node.target not in (torch.ops.aten.split.Tensor, torch.ops.aten.chunk.default):
        return 0
    extents, number = node.args[0].meta["val"].shape, node.args[1]
    length = extents[node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)]
    return min(number, length) if node.target is torch.ops.aten.chunk.default else -(-length // max(number, 1))


def _read_facts(written: Any) -> NodeFacts:
    if not isinstance(written, dict):
        raise ValueError(f"the facts of a node are {written!r}")
    for key, kinds in (("source_name", str), ("source_operator", str), ("precision", int), ("batch_axis", int),
                       ("scale", (int, float)), ("threshold", (int, float))):
        if key in written and (not isinstance(written[key], kinds) or isinstance(written[key], bool)):
            raise ValueError(f"{key} is {written[key]!r}")
    facts = dict(written)
    if "output_names" in facts:
        if not isinstance(facts["output_names"], list) or not all(isinstance(n, str) for n in facts["output_names"]):
            raise ValueError(f"the output names are {facts['output_names']!r:.200}")
        facts["output_names"] = tuple(facts["output_names"])
    if "value_range" in facts:
        low, high = facts["value_range"]
        if type(low) is not int or type(high) is not int:
            raise ValueError(f"the value range is {low!r} to {high!r}")
        facts["value_range"] = Interval(low, high)
    return NodeFacts(**facts)
