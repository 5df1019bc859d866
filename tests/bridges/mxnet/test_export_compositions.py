"""Functions made of several operators, written as MXNet files. Oracles: torch on the graph, and MXNet."""

from __future__ import annotations

import pytest
import torch

from bridges.mxnet.export_float import export_float
from bridges.mxnet.symbol_file import read_symbol
from mrt_torch.passes import prepare
from tests.bridges.mxnet.oracle import TOLERANCE, check_close
from tests.bridges.mxnet.test_export_float import random_input, run_file
from tests.mrt_torch.ops.graphs import graph
from tests.mrt_torch.passes.test_fuse_functions import FIRES


@pytest.mark.parametrize("name", FIRES)
def test_a_prepared_graph_is_written_as_its_operators(mxnet, tmp_path, name):
    """The result keeps the name of the composition."""
    module = prepare(graph(FIRES[name], (2, 5), dtype=torch.float32) if "constant" not in name else
                     graph(FIRES[name], (2, 5)))
    dtype = next(iter(module.graph.nodes)).meta["val"].dtype
    before = [node.name for node in module.graph.nodes]
    data = random_input((2, 5), dtype=dtype)
    paths = str(tmp_path / "m-symbol.json"), str(tmp_path / "m-0000.params")
    export_float(module, *paths)
    outputs = [torch.from_numpy(output).float() for output in run_file(mxnet, paths, data=data)]
    check_close(outputs, [output.float().numpy() for output in module(data)], TOLERANCE)
    assert [node.name for node in module.graph.nodes] == before  # the given graph stays
    names = [node.name for node in read_symbol(paths[0]).nodes]
    assert len(set(names)) == len(names)
