"""ModelMerger: a quantized base and a float top become one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module, input_nodes, output_names, output_nodes
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.runner import finish
from mrt_torch.graph.stage import Stage
from mrt_torch.merged_scales import DeclaredScales
from mrt_torch.passes.quantize_top import quantize_top
from mrt_torch.passes.split import MergeCallback, copy_nodes, feeding_outputs, merge
from mrt_torch.record import QuantizationRecord

if TYPE_CHECKING:
    from mrt_torch.model import Model


class ModelMerger:
    """Joins the two halves of ``Model.split`` once the base is quantized.

    Args:
        base: quantized base.
        top: float top.
        base_name_maps: ``MRT.get_maps()`` of the base: name of each of its outputs now, to the name that top knows.
    """

    def __init__(self, base: Model, top: Model, base_name_maps: Mapping[str, str] | None = None):
        if not base.is_quantized or top.is_quantized:
            raise InvalidArgumentError("a merger takes a quantized base and a float top",
                                       why=f"saw stages {base.stage.value} and {top.stage.value}",
                                       remedy="quantize the base, and pass the top as split returned it")
        self.base, self.top = base, top
        self.maps = dict(base_name_maps or base.record.maps)

    def merge(self, callback: MergeCallback | None = None) -> Model:
        """A model that takes the base's input and returns the top's float outputs; see ``passes.split.merge``."""
        from mrt_torch.model import Model
        module = merge(self.base.module, self._input_scales(), self.top.module, callback)
        outputs = output_names(module.graph)
        record = QuantizationRecord(self.base.record.inputs, (1.0,) * len(outputs), dict(zip(outputs, outputs)))
        return Model(module, Stage.RESTORED, record=record, prepared=True, joined=self.base.joined)

    def merge_integers(self, attribute_deps: Mapping[str, Mapping[str, str]] | None = None,
                       oscale_maps: Mapping[str, str] | None = None, callback: MergeCallback | None = None) -> Model:
        """One integer model: the base with the same integers, and the top quantized on its outputs.

        It can be deployed like any other: ``_contrib_box_nms`` becomes get_valid_counts and non_max_suppression, with
        a scale for classes, scores and corners each. Nothing needs to be declared: the number that an operator compares
        with becomes floor(number * scale) of the data beside it, and an output has the scale of its integers. What a
        configuration of MRT declares is checked; where it differs by more than 1 percent, a warning tells.

        Nothing calibrates the top: a range is the proven one of the integers. That costs nothing where detections are
        sorted and suppressed; convolutions and dense layers, whose operands have 8 bits, belong into the base.

        Args:
            attribute_deps: by MXNet operator and attribute, the base output whose scale the attribute has:
                ``{"_contrib_box_nms": {"valid_thresh": "ssd0_softmax0"}}``.
            oscale_maps: by merged output, the base output whose scale it has, or "None" for 1.
            callback: called with every node of the top and the graph it is in, before the top is prepared; what it
                returns replaces the node.

        Raises:
            UnsupportedOperatorError: lists every node of the top that has no integer form; ``merge`` takes it as it is.
            InvalidArgumentError: an operator, an attribute or a base output that is declared does not exist; a base
                with parts in float; halves of different splits.
        """
        from mrt_torch.model import Model
        if self.base.stage is not Stage.INTEGER:
            raise InvalidArgumentError("only integers can be merged into an integer model", where="merge_integers",
                                       why="the base keeps operators in float, as set_restore asked",
                                       remedy="quantize it without set_restore, or call merge()")
        top = self.top.module
        inputs = feeding_outputs(self.base.module, self._input_scales(), top)
        declared = DeclaredScales(attribute_deps or {}, oscale_maps or {}, self._base_scales(), top)
        merged = quantize_top(self.base.module, inputs, top if callback is None else _changed(top, callback),
                              self.top.prepared)
        declared.check(merged.numbers, dict(zip(self.top.output_names(), merged.scales)))
        record = QuantizationRecord.of_graph(merged.module, self.top.output_names())
        return Model(merged.module, Stage.INTEGER, record=record, prepared=True, joined=self.base.joined)

    def _base_scales(self) -> dict[str, float]:
        """Scale of each output of the base, in order, by the name that top knows."""
        names = [self.maps.get(name, name) for name in output_names(self.base.module.graph)]
        return dict(zip(names, self.base.record.output_scales, strict=True))

    def _input_scales(self) -> dict[str, float]:
        """The same by the name of the input of top that each output feeds; the others keep theirs."""
        by_source = {source_name(node): node.name for node in input_nodes(self.top.module.graph)}
        return {by_source.get(name, name): scale for name, scale in self._base_scales().items()}

    def get_output_scales(self, base_oscales: list[float], maps: Mapping[str, str]) -> list[float]:
        """Scale of each merged output: that of the base output it stems from, 1 where ``maps`` says "None".

        These are the scales that a configuration declares; those that an integer model really has are in its record.

        Args:
            base_oscales: scales of the base's outputs, in order.
            maps: merged output name to base output name, or to "None".

        Raises:
            InvalidArgumentError: another number of scales, or an unknown base output.
        """
        if len(base_oscales) != len(self.maps):
            raise InvalidArgumentError("get_output_scales takes a scale for each output of the base",
                                       why=f"saw {len(base_oscales)} for {list(self.maps.values())}",
                                       remedy="pass MRT.get_output_scales() of the base")
        by_name = dict(zip(self.maps.values(), base_oscales, strict=True))
        unknown = [name for name in maps.values() if name != "None" and name not in by_name]
        if unknown:
            raise InvalidArgumentError(f"the base has no outputs {unknown}", remedy=f"it has {list(by_name)}")
        return [1.0 if name == "None" else by_name[name] for name in maps.values()]


def _changed(top: fx.GraphModule, callback: MergeCallback) -> fx.GraphModule:
    """A copy of the top in which ``callback`` replaced nodes."""
    module = empty_graph_module()
    copies = copy_nodes(top, GraphEditor(module), {}, callback)
    GraphEditor(module).output([copies[node] for node in output_nodes(top.graph)])
    finish(module, Stage.SOURCE)
    return module
