"""The deployed folder: complete or not there."""

from __future__ import annotations

import pytest
import torch

from bridges.cvm import export
from bridges.cvm.export import export_cvm
from bridges.cvm.params_file import parse_params
from bridges.cvm.symbol_parser import parse_symbol
from mrt_torch.errors import ExportError, InvalidArgumentError
from mrt_torch.extension_file import load_ext
from tests.bridges.cvm.graphs import convolution_graph, cvm, deployed_bytes, integer_graph, integers, two_headed_graph

EXTENSION = {"inputs_ext": {"data": {"scale": 12.5, "target_bit": 8}}, "oscales": [3.0],
             "input_shapes": {"data": [1, 3, 8, 8]}}


def test_folder_holds_three_files(tmp_path):
    folder = export_cvm(convolution_graph(), tmp_path / "new" / "model", extension=EXTENSION)
    assert folder == tmp_path / "new" / "model"
    assert sorted(path.name for path in folder.iterdir()) == ["ext", "params", "symbol"]
    written = (folder / "symbol").read_bytes(), (folder / "params").read_bytes()
    assert written == deployed_bytes(convolution_graph())
    assert load_ext(folder / "ext") == ({**EXTENSION, "output_shapes": [[1, 144]]},)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def test_extension_keeps_the_shapes_before_flattening(tmp_path):
    graph = two_headed_graph()
    folder = export_cvm(graph, tmp_path / "model", extension={})
    assert load_ext(folder / "ext") == ({"output_shapes": [[2, 2, 3, 4], [2, 2, 3]]},)
    assert parse_symbol((folder / "symbol").read_bytes()).head_shapes == [(2, 24), (2, 6)]
    assert [tuple(head.shape) for head in graph(integers((2, 2, 3, 4)))] == [(2, 2, 3, 4), (2, 2, 3)]


def test_same_bytes_twice(tmp_path):
    first, second = (export_cvm(convolution_graph(), tmp_path / name, extension=EXTENSION) for name in "ab")
    for name in ("symbol", "params", "ext"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def too_wide(editor, data):
    wide = editor.constant("wide", integers((1,), 2 ** 30, 2 ** 30))
    shifted = editor.call(cvm.cvm_left_shift.default, data, precision=12, shift_bit=3)
    return [editor.call(cvm.broadcast_mul.default, data, wide), shifted]


def test_refused_graph_leaves_nothing(tmp_path):
    """Every reason is listed, and not even the parent folder appears."""
    with pytest.raises(ExportError, match=r"(?s)CPU back end fails.*40 bits"):
        export_cvm(integer_graph(too_wide), tmp_path / "new" / "model", extension={})
    assert list(tmp_path.iterdir()) == []


def test_float_graph_is_refused(tmp_path):
    graph = integer_graph(lambda editor, data: [editor.call(cvm.relu.default, data)])
    relu = next(node for node in graph.graph.nodes if node.op == "call_function")
    relu.target = torch.ops.aten.relu.default
    with pytest.raises(ExportError, match="not deployable"):
        export_cvm(graph, tmp_path / "model", extension={})
    assert list(tmp_path.iterdir()) == []


def test_failure_while_writing_leaves_the_old_model(tmp_path, monkeypatch):
    folder = export_cvm(convolution_graph(), tmp_path / "model", extension=EXTENSION)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(*arguments):
        raise OSError("disk full")
    monkeypatch.setattr(export, "save_ext", fail)
    with pytest.raises(OSError, match="disk full"):
        export_cvm(two_headed_graph(), folder, extension={})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_older_export_is_replaced_and_other_folders_are_not(tmp_path):
    folder = export_cvm(convolution_graph(), tmp_path / "model", extension=EXTENSION)
    (folder / "data.npy").write_bytes(b"sample of the old model")
    export_cvm(two_headed_graph(), folder, extension={})
    assert sorted(path.name for path in folder.iterdir()) == ["ext", "params", "symbol"]
    assert parse_params((folder / "params").read_bytes()) == {}
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidArgumentError, match="thesis.tex"):
        export_cvm(convolution_graph(), folder, extension={})
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_given_graph_is_not_changed(tmp_path):
    graph = two_headed_graph()
    code = graph.code
    export_cvm(graph, tmp_path / "model", extension={})
    assert graph.code == code and graph.graph.owning_module is graph
