"""The object behind the entry point. Oracle: ``export_cvm`` and ``load_cvm`` themselves."""

from __future__ import annotations

import torch

from bridges.cvm import bridge
from tests.bridges.cvm.graphs import convolution_graph, deployed_bytes, integers


def test_saves_and_loads(tmp_path):
    graph = convolution_graph()
    folder = bridge.save(graph, tmp_path / "model", {"oscales": [2.0]})
    assert ((folder / "symbol").read_bytes(), (folder / "params").read_bytes()) == deployed_bytes(graph)
    loaded, extension = bridge.load(str(folder))
    values = integers((1, 3, 8, 8))
    assert bridge.name == "cvm" and extension["oscales"] == [2.0]
    assert torch.equal(loaded(values)[0], graph(values)[0])
