"""What a configuration of MRT declares about the scales of a merged model, checked against those that it has."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from torch import fx

from mrt_torch.errors import InvalidArgumentError
from mrt_torch.passes.quantize_top import NumberScale, attributes_of, operators_of

logger = logging.getLogger(__name__)
NO_OUTPUT = "None"      # of a merged output whose scale is 1
LARGEST_DIFFERENCE = 0.01


class DeclaredScales:
    """``Attribute_deps`` and ``Oscale_maps`` of a configuration.

    Args:
        attribute_deps: by MXNet operator and attribute, the base output whose scale the attribute has.
        oscale_maps: by merged output, the base output whose scale it has, or "None" for 1.
        base_scales: scale of each output of the base, by its name.
        top: the float graph that is merged with the base.

    Raises:
        InvalidArgumentError: an operator that top lacks, an attribute that no such operator has, an unknown base
            output; what there is instead is listed.
    """

    def __init__(self, attribute_deps: Mapping[str, Mapping[str, str]], oscale_maps: Mapping[str, str],
                 base_scales: Mapping[str, float], top: fx.GraphModule):
        self._attributes, self._outputs, self._base_scales = attribute_deps, oscale_maps, base_scales
        _check_attributes(attribute_deps, top)
        declared = {name: f"{operator}: {attribute}" for operator, attributes in attribute_deps.items()
                    for attribute, name in attributes.items()}
        declared |= {name: output for output, name in oscale_maps.items() if name != NO_OUTPUT}
        for name, where in declared.items():
            if name not in base_scales:
                raise InvalidArgumentError(f"the base has no output '{name}'", where=f"the scale of {where}",
                                           why=f"it has {list(base_scales)}",
                                           remedy="name one of the keys of the split")

    def check(self, numbers: Iterable[NumberScale], output_scales: Mapping[str, float]) -> None:
        """Warn of every scale that differs from the declared one by more than 1 percent, and of unknown outputs."""
        for number in numbers:
            for operator in sorted(number.operators & self._attributes.keys()):
                name = self._attributes[operator].get(number.attribute)
                if name is not None and _differ(number.scale, self._base_scales[name]):
                    logger.warning("%s of %s has the scale %.6g of its data, not %.6g of '%s' as declared",
                                   number.attribute, number.where, number.scale, self._base_scales[name], name)
        for output, name in self._outputs.items():
            declared = 1.0 if name == NO_OUTPUT else self._base_scales[name]
            if output not in output_scales:
                logger.warning("a scale is declared for '%s', but the merged model's outputs are %s", output,
                               ", ".join(output_scales))
            elif _differ(output_scales[output], declared):
                logger.warning("output '%s' has the scale %.6g, not %.6g of '%s' as declared", output,
                               output_scales[output], declared, name)


def _differ(scale: float, declared: float) -> bool:
    return abs(scale / declared - 1) > LARGEST_DIFFERENCE


def _check_attributes(attribute_deps: Mapping[str, Mapping[str, str]], top: fx.GraphModule) -> None:
    known: dict[str, set[str]] = {}
    for node in top.graph.nodes:
        for operator in operators_of(node) if node.op == "call_function" else ():
            known.setdefault(operator, set()).update(attributes_of(node))
    for operator, attributes in attribute_deps.items():
        if operator not in known:
            raise InvalidArgumentError(f"the upper half has no operator '{operator}'",
                                       where="the attribute dependencies", why=f"it has {sorted(known)}",
                                       remedy="name one of these, or leave it out")
        for attribute in attributes:
            if attribute not in known[operator]:
                raise InvalidArgumentError(f"'{operator}' has no attribute '{attribute}'",
                                           where="the attribute dependencies",
                                           why=f"its attributes are {sorted(known[operator])}",
                                           remedy="name one of these, or leave it out")
