"""Where a network is cut in two with the fewest values crossing: a minimum vertex cut (Menger; Ford and Fulkerson)."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

Value = Hashable
OUTPUT = "it is an output of the model"
UNNAMEABLE = 1000  # keys that one value costs which has no name of its own
_SINK = ("sink", None)


@dataclass(frozen=True)
class Dataflow:
    """The values of a network that depend on its inputs; the part above the cut is the top, the other the base.

    Attributes:
        inputs: what each value is computed of, in topological order; the inputs of the network have none.
        refused: values whose operators must be in the top, with a text about each; so is all that follows them.
        heads: what the network returns.
        read_above: values that something outside reads in the top, with texts about what makes that necessary.
        anchored: values whose operators stay in the base, unless they follow refused ones.
        raised: values whose operators go to the top, unless an anchored one depends on them.
        sizes: numbers in a value; 1 where it is not known.
        nameable: values that can be keys; None allows all.
    """

    inputs: Mapping[Value, Sequence[Value]]
    refused: Mapping[Value, str]
    heads: Collection[Value] = ()
    read_above: Mapping[Value, Sequence[str]] = field(default_factory=dict)
    anchored: Collection[Value] = frozenset()
    raised: Collection[Value] = frozenset()
    sizes: Mapping[Value, int] = field(default_factory=dict)
    nameable: Collection[Value] | None = None

    @cached_property
    def readers(self) -> Mapping[Value, Sequence[Value]]:
        """The values computed of each value, in order."""
        found: dict[Value, list[Value]] = {value: [] for value in self.inputs}
        for value, sources in self.inputs.items():
            for source in dict.fromkeys(sources):
                found[source].append(value)
        return found

    @cached_property
    def causes(self) -> Mapping[Value, Sequence[str]]:
        """Of the refused values, and of those that follow them: the texts about the refused ones they come from."""
        found: dict[Value, Sequence[str]] = {}
        for value, sources in self.inputs.items():
            if value in self.refused:
                found[value] = (self.refused[value],)
                continue
            texts = [text for source in sources for text in found.get(source, ())]
            if texts:
                found[value] = tuple(dict.fromkeys(texts))
        return found

    @cached_property
    def kept(self) -> frozenset[Value]:
        """What stays in the base in any case: anchored values, and all they depend on; and the network's inputs."""
        stays = {value for value, sources in self.inputs.items()
                 if value not in self.causes and (value in self.anchored or not sources)}
        for value in reversed(list(self.inputs)):
            if value in stays:
                stays.update(self.inputs[value])
        return frozenset(stays)

    def narrowest_cut(self) -> list[Value]:
        """The keys, in topological order: base computes them, top computes everything else that is needed of them.

        The fewest values that separate what stays from what is refused and from the heads; among these cuts the one of
        the fewest numbers; among these the one with the most operators in the base. An anchored operator is never
        moved to the top, nor computed twice.
        """
        above: set[Value] = set()
        for value, sources in self.inputs.items():
            if value in self.causes or value in self.raised and value not in self.kept or not above.isdisjoint(sources):
                above.add(value)
        outside = set(self.heads) | set(self.read_above)
        total = sum(self._size(value) for value in self.inputs) + 1
        network = FlowNetwork()
        for value in self.inputs:
            if value in above:
                continue
            price = 1 if self.nameable is None or value in self.nameable else UNNAMEABLE
            network.connect((value, "in"), (value, "out"), price * total + self._size(value))
            if value in outside or any(reader in above for reader in self.readers[value]):
                network.connect((value, "out"), _SINK, None)
            for reader in self.readers[value]:
                if reader not in above:
                    network.connect((value, "out"), (reader, "in"), None)
        starts = [(value, "in") for value in self.inputs if value in self.kept and value not in above]
        reaching = network.minimum_cut(starts, _SINK)
        return [value for value in self.inputs
                if value not in above and (value, "out") in reaching and (value, "in") not in reaching]

    def because(self, key: Value, keys: Collection[Value]) -> list[str]:
        """Why a key is needed: texts about the refused values that the top computes of it."""
        found: dict[str, None] = {}
        seen, pending = {key}, deque([key])
        while pending:
            value = pending.popleft()
            found.update(dict.fromkeys(self.read_above.get(value, ())))
            for reader in self.readers[value]:
                if reader in self.causes:
                    found.update(dict.fromkeys(self.causes[reader]))
                elif reader not in seen and reader not in keys and reader not in self.kept:
                    seen.add(reader)
                    pending.append(reader)
        return list(found) or [OUTPUT]

    def base(self, keys: Iterable[Value]) -> set[Value]:
        """The values that the base computes: the keys and all they depend on."""
        found = set(keys)
        for value in reversed(list(self.inputs)):
            if value in found:
                found.update(self.inputs[value])
        return found

    def _size(self, value: Value) -> int:
        return self.sizes.get(value, 1)


class FlowNetwork:
    """Directed edges with capacities, None for any amount."""

    def __init__(self) -> None:
        self._left: dict[Any, dict[Any, int | None]] = {}  # capacity left from a vertex to another

    def connect(self, begin: Any, end: Any, capacity: int | None) -> None:
        """Add an edge."""
        self._left.setdefault(begin, {})[end] = capacity
        self._left.setdefault(end, {}).setdefault(begin, 0)

    def minimum_cut(self, starts: Sequence[Any], sink: Any) -> set[Any]:
        """The vertices on the sink's side of the minimum cut that lies nearest to the sink.

        Edmonds and Karp: flow goes along a shortest path with capacity left, until there is none. What can still
        reach the sink then is its side. Every path from a start to the sink must hold a limited edge.
        """
        while path := self._path(starts, sink):
            amount = min(self._left[begin][end] for begin, end in path if self._left[begin][end] is not None)
            for begin, end in path:
                if self._left[begin][end] is not None:
                    self._left[begin][end] -= amount
                if self._left[end][begin] is not None:
                    self._left[end][begin] += amount
        return self._reaching(sink)

    def _path(self, starts: Sequence[Any], sink: Any) -> list[tuple[Any, Any]]:
        """Edges of a shortest path with capacity left; empty where there is none."""
        before: dict[Any, Any] = dict.fromkeys(starts)
        pending = deque(starts)
        while pending and sink not in before:
            begin = pending.popleft()
            for end, left in self._left.get(begin, {}).items():
                if left != 0 and end not in before:
                    before[end] = begin
                    pending.append(end)
        path, end = [], sink if sink in before else None
        while end is not None and before[end] is not None:
            path.append((before[end], end))
            end = before[end]
        return path[::-1]

    def _reaching(self, sink: Any) -> set[Any]:
        found, pending = {sink}, deque([sink])
        while pending:
            end = pending.popleft()
            for begin in self._left.get(end, {}):
                if begin not in found and self._left[begin].get(end) != 0:
                    found.add(begin)
                    pending.append(begin)
        return found
