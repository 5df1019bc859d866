"""ModelMerger: a quantized base and a float top become one model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.graph.editor import input_nodes, output_nodes
from mrt_torch.graph.facts import source_name
from mrt_torch.graph.stage import Stage
from mrt_torch.passes.split import MergeCallback, merge
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
        by_source = {source_name(node): node.name for node in input_nodes(self.top.module.graph)}
        names = [self.maps.get(source_name(node), source_name(node)) for node in output_nodes(self.base.module.graph)]
        scales = {by_source.get(name, name): scale
                  for name, scale in zip(names, self.base.record.output_scales, strict=True)}
        module = merge(self.base.module, scales, self.top.module, callback)
        outputs = [source_name(node) for node in output_nodes(module.graph)]
        record = QuantizationRecord(self.base.record.inputs, (1.0,) * len(outputs), dict(zip(outputs, outputs)))
        return Model(module, Stage.RESTORED, record=record, prepared=True, joined=self.base.joined)

    def get_output_scales(self, base_oscales: list[float], maps: Mapping[str, str]) -> list[float]:
        """Scale of each merged output: that of the base output it stems from, 1 where ``maps`` says "None".

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
