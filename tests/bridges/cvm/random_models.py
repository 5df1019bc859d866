"""Random deployed models in the words of others: every operator, every spelling the runtime reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from bridges.cvm.storage import plan_storage, stored_tensors
from bridges.cvm.symbol_file import CvmSymbol, Reference, SymbolNode, format_symbol
from mrt_torch.cvm import OPERATORS
from mrt_torch.errors import InvalidFileError
from tests.mrt_torch.cvm.oracles import ORACLES
from tests.mrt_torch.cvm.sampler import Operand, SampledCall, Sampler
from tests.mrt_torch.cvm.sampling import sample_call

DEPLOYED = sorted(row.name for row in OPERATORS if not row.composite)


@dataclass
class ModelBuilder:
    """A symbol and its parameters under construction."""

    random: Random
    nodes: list[SymbolNode] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    precisions: list[int] = field(default_factory=list)
    parameters: dict[str, np.ndarray] = field(default_factory=dict)

    def variable(self, name: str, operand: Operand) -> Reference:
        self.nodes.append(SymbolNode(name))
        self.shapes.append(operand.shape)
        self.precisions.append(operand.precision)
        return len(self.nodes) - 1, 0

    def parameter(self, operand: Operand) -> Reference:
        """A constant, stored as int8 where its values allow and chance has it."""
        name = f"parameter_{len(self.parameters)}"
        small = np.abs(operand.values).max() <= 127 and self.random.random() < 0.7
        self.parameters[name] = operand.values.astype(np.int8 if small else np.int32)
        return self.variable(name, operand)

    def operator(self, sampled: SampledCall, inputs: Iterable[Reference]) -> list[Reference]:
        row, call = OPERATORS[sampled.operator], sampled.call()
        attributes = spell(sampled, self.random)
        self.nodes.append(SymbolNode(f"{row.name}_{len(self.nodes)}", row.name, tuple(inputs), attributes))
        self.shapes += row.output_shapes(call.shapes, sampled.attributes)
        self.precisions += [-1] * row.outputs
        return [(len(self.nodes) - 1, output) for output in range(row.outputs)]

    def build(self, heads: Iterable[Reference]) -> CvmSymbol:
        """The symbol; tensors share storage as far as they can, or have one each."""
        symbol = CvmSymbol(tuple(self.nodes), tuple(heads), tuple(self.shapes), tuple(self.precisions),
                           tuple(range(len(self.shapes))))
        if self.random.random() < 0.5:
            return symbol
        shared = plan_storage(stored_tensors(symbol.nodes, symbol.shapes), map(symbol.entry, symbol.heads))
        return replace(symbol, storage_ids=tuple(shared))


@dataclass(frozen=True)
class RandomModel:
    """Content of the two files, an input, and what the heads are by definition, where that is known."""

    symbol: CvmSymbol
    parameters: dict[str, np.ndarray]
    values: np.ndarray
    expected: tuple[np.ndarray, ...] = ()

    def text(self, random: Random) -> bytes:
        """The symbol file in one of the forms that the runtime reads."""
        return vary(json.loads(format_symbol(self.symbol)), random).encode("ascii")


def model_of_call(sampled: SampledCall, random: Random) -> RandomModel:
    """A model of one operator; any operand may be the input, the others are parameters."""
    builder = ModelBuilder(random)
    position = random.randrange(len(sampled.operands))
    if sampled.operator in ("conv2d", "dense") and random.random() < 0.7:
        position = 0
    order = [position, *(i for i in range(len(sampled.operands)) if i != position)]
    references: dict[int, Reference] = {}
    for index in order if random.random() < 0.8 else order[::-1]:
        operand = sampled.operands[index]
        references[index] = builder.variable("data", operand) if index == position else builder.parameter(operand)
    if sampled.rectified and position == 0:  # proves to the CPU back end's satisfaction that no id is negative
        references[0], = builder.operator(SampledCall("relu", sampled.operands[:1]), [references[0]])
    heads = builder.operator(sampled, [references[index] for index in range(len(sampled.operands))])
    arrays = [operand.values.astype(object) for operand in sampled.operands]
    takes_list = OPERATORS[sampled.operator].takes_list
    expected = ORACLES[sampled.operator](*([arrays] if takes_list else arrays), **sampled.attributes)
    expected = expected if isinstance(expected, tuple) else (expected,)
    kept = [random.randrange(len(heads))]  # the runtime returns several heads only if they have as many rows
    return RandomModel(builder.build(heads[index] for index in kept), builder.parameters,
                       sampled.operands[position].values.astype(np.int32), tuple(expected[index] for index in kept))


def random_graph(random: Random, steps: int) -> RandomModel:
    """Operators on each other's results; some results are never read, up to three are heads."""
    builder, sampler = ModelBuilder(random), Sampler(random)
    data = sampler.fresh(sampler.shape(1, 4), (2, 32))
    known = [replace(data, values=None, reference=builder.variable("data", data))]

    def pool(ranks, bits):
        fitting = [t for t in known if ranks[0] <= len(t.shape) <= ranks[1] and t.precision >= bits[0]]
        if not fitting or random.random() < 0.1:
            return None
        chosen = random.choice(fitting[-6:])
        return replace(chosen, precision=min(chosen.precision, bits[1]))

    def realised(operand):
        if operand.reference is None:
            return builder.parameter(operand)
        wide = next(t for t in known if t.reference == operand.reference)
        if wide.precision == operand.precision:
            return operand.reference
        clip = SampledCall("cvm_clip", (wide,), {"precision": operand.precision})
        return builder.operator(clip, [wide.reference])[0]

    for _ in range(steps):
        sampled = sample_call(random.choice(DEPLOYED), random, pool)
        row, call = OPERATORS[sampled.operator], sampled.call()
        references = builder.operator(sampled, [realised(operand) for operand in sampled.operands])
        shapes = row.output_shapes(call.shapes, sampled.attributes)
        known += [Operand(*facts) for facts in zip(shapes, row.precisions(call), [None] * len(shapes), references)]
    heads = [known[-1]]
    rows = np.prod(known[-1].shape[:-1])
    alike = [tensor for tensor in known if np.prod(tensor.shape[:-1]) == rows]
    heads += random.sample(alike, min(len(alike), random.choice((0, 0, 1, 2))))
    return RandomModel(builder.build([head.reference for head in heads]), builder.parameters,
                       data.values.astype(np.int32))


def spell(sampled: SampledCall, random: Random) -> dict[str, str]:
    """The attributes as texts; defaults may be left out, tuples and booleans are spelled as chance has it."""
    row = OPERATORS[sampled.operator]
    canonical = row.write_attributes(sampled.call())
    if sampled.operator == "reshape":
        canonical["shape"] = str(tuple(sampled.attributes["shape"]))
    texts = {name: _respell(text, random) for name, text in canonical.items()}
    for name in list(texts):
        without = {key: text for key, text in texts.items() if key != name}
        try:
            droppable = row.read_attributes(without) == sampled.attributes and canonical[name] != "False"
        except InvalidFileError:
            droppable = False
        if droppable and random.random() < 0.5:
            texts = without
    if texts and random.random() < 0.1:
        texts["__hint__"] = "ignored"
    return texts


def _respell(text: str, random: Random) -> str:
    if text in ("True", "False"):
        return random.choice((text, text.lower(), text.upper(), str(int(text == "True"))))
    if text.startswith("("):
        items = [item.strip() for item in text.strip("()").split(",") if item.strip()]
        if len(items) == 1 and random.random() < 0.3:
            return items[0]
        separator, (left, right) = random.choice((", ", ",", " , ")), random.choice(("()", "[]", "(]"))
        trailing = "," if items and random.random() < 0.3 else ""
        if separator != " , " and random.random() < 0.1:  # the runtime reads no blank behind an L
            items = [f"{item}L" for item in items]
        return f"{left}{separator.join(items)}{trailing}{right}"
    return f" {text} " if text.lstrip("-").isdigit() and random.random() < 0.1 else text


def vary(document: dict, random: Random) -> str:
    """Another text of the same graph (cvm-format 1)."""
    if random.random() < 0.5:
        document["version"] = "cvm_1.1.0"
        if random.random() < 0.5:
            del document["arg_nodes"], document["attrs"]["dltype"]
    elif random.random() < 0.3:
        del document["version"]
    for node in document["nodes"]:
        if random.random() < 0.3:
            node["inputs"] = [entry[:2] for entry in node["inputs"]]
        if node["op"] == "cvm_op":
            if random.random() < 0.5:
                node["attrs"]["func_name"] += f"_{random.randint(0, 999)}"
            if random.random() < 0.3:
                node["attrs"] = {"func_name": node["attrs"]["func_name"]}
        elif random.random() < 0.3:
            node["precision"] = 3
    if random.random() < 0.5:
        document["heads"] = [head[:2] for head in document["heads"]]
    return json.dumps(document, indent=random.choice((None, 1)))
