"""Optimizors: how statistics of a tensor become its feature. The base class and the registry. (MRT GEN.)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, ClassVar

from torch import fx

from mrt_torch.calibration.features import AFeature, ALFeature, Feature, MMFeature
from mrt_torch.calibration.observers import Observer
from mrt_torch.calibration.raw_features import AFFINE, GROUPED, SYMMETRIC
from mrt_torch.errors import InvalidArgumentError
from mrt_torch.named_classes import NamedClasses

NO_VALUE = "_NoneType"  # how a configuration file writes None


class Optimizor:
    """Base of optimizors.

    A subclass gives ``name``, ``attributes``, ``quant_types`` and ``get_opt``, and is registered:

        @register_optimizor
        class Half(Optimizor):
            name, quant_types = "Half", ("UniformSymmetric",)

            def get_opt(self, raw_ft, out, *, hist_ft=None, name=None, logger=None):
                return AFeature(max(raw_ft.get() / 2, hist_ft.get() if hist_ft else 0))

    That is called for each batch. One that wants statistics of all of them gives ``make_observer`` and ``optimize``
    too. Attributes are attributes of the instance, which has no other state.

    Raises:
        InvalidArgumentError: an unknown attribute, or a value of a wrong type or outside of its bounds.
    """

    #: Name in configurations.
    name: ClassVar[str]
    #: Default value and accepted types of each attribute; an int is accepted for a float.
    attributes: ClassVar[Mapping[str, tuple[Any, tuple[type, ...]]]] = {}
    #: Names of the quantizers whose features it chooses.
    quant_types: ClassVar[tuple[str, ...]] = (SYMMETRIC, AFFINE, GROUPED)

    def __init__(self, **attrs: Any):
        for attribute, value in attrs.items():
            if attribute not in self.attributes:
                raise InvalidArgumentError(f"the optimizor '{self.name}' has no attribute '{attribute}'",
                                           why=f"saw {value!r}",
                                           remedy=f"its attributes are {', '.join(self.attributes) or 'none'}")
        for attribute, (default, kinds) in self.attributes.items():
            setattr(self, attribute, _of_type(attrs.get(attribute, default), kinds, self.name, attribute))
        self.validate()

    def validate(self) -> None:
        """Raise where an attribute lies outside of its bounds."""

    def get_opt(self, raw_ft: Feature | float, out: Any, *, hist_ft: Feature | None = None, name: str | None = None,
                logger: Any = None) -> Feature:
        """The optimized feature of a batch and of those before it.

        Args:
            raw_ft: feature of the batch: ``AFeature``, or a number for one; ``MMFeature``; ``ALFeature``, which has a
                value for each of equal groups of channels.
            out: the batch, a tensor or an array.
            hist_ft: what this returned for the batches before; None for the first.
            name: of the node, for messages.
            logger: where to write them.
        """
        raise TypeError(f"{type(self).__name__} does not define get_opt")

    @classmethod
    def list_supported_quant_types(cls) -> tuple[str, ...]:
        """Names of the quantizers whose features it chooses."""
        return cls.quant_types

    @classmethod
    def list_attr_types(cls) -> dict[str, tuple[type, ...]]:
        """Accepted types of each attribute."""
        return {attribute: kinds for attribute, (_, kinds) in cls.attributes.items()}

    def make_observer(self, quant_type: str, node: fx.Node | None = None) -> Observer:
        """Observer of the statistics that ``optimize`` needs, for a quantizer by name and, where known, the node.

        Raises:
            InvalidArgumentError: the quantizer is not supported.
        """
        from mrt_torch.calibration.optimizor_observer import OptimizorObserver
        self.check_supported(quant_type)
        return OptimizorObserver(self, quant_type)

    def optimize(self, observer: Observer, quant_type: str, groups: int | None = None) -> Feature:
        """The feature, from what an observer of ``make_observer`` has seen.

        Args:
            observer: of all batches.
            quant_type: as for ``make_observer``.
            groups: for "GroupConv": equal groups of channels to have a value each; by default each channel has.

        Raises:
            CalibrationError: the observer saw nothing, or a value that is not finite.
        """
        feature = observer.feature()
        return grouped(feature, groups) if isinstance(feature, ALFeature) else feature

    def check_supported(self, quant_type: str) -> None:
        """Raise unless ``list_supported_quant_types`` has it.

        Raises:
            InvalidArgumentError: it does not.
        """
        supported = self.list_supported_quant_types()
        if quant_type not in supported:
            raise InvalidArgumentError(f"the optimizor '{self.name}' does not support the quantizer {quant_type!r}",
                                       why=f"it supports {', '.join(supported)}",
                                       remedy="change quant_type or opt_type")

    def kind_of(self, feature: Feature | float) -> tuple[Feature, str, int | None]:
        """The feature itself, the quantizer it is for, and its number of groups.

        Raises:
            InvalidArgumentError: a feature for a quantizer that is not supported.
        """
        feature = feature if isinstance(feature, Feature) else AFeature(feature)
        names = {AFeature: SYMMETRIC, MMFeature: AFFINE, ALFeature: GROUPED}
        quant_type = next((name for kind, name in names.items() if isinstance(feature, kind)), type(feature).__name__)
        self.check_supported(quant_type)
        return feature, quant_type, len(feature.get()) if quant_type == GROUPED else None

    @property
    def key(self) -> tuple:
        """(name, attribute, value, ...), as configurations have it and ``get_optimizor`` reads it."""
        return (self.name, *(part for attribute in self.attributes for part in (attribute, getattr(self, attribute))))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.attributes)})"


def _of_type(value: Any, kinds: tuple[type, ...], owner: str, attribute: str) -> Any:
    if value == NO_VALUE and NoneType in kinds:
        return None
    accepted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, accepted) or isinstance(value, bool) and bool not in kinds:
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise InvalidArgumentError(f"the attribute '{attribute}' of the optimizor '{owner}' is of type {names}",
                                   why=f"saw {value!r}", remedy="pass a value of that type")
    return float(value) if float in kinds and int not in kinds and isinstance(value, int) else value


def grouped(feature: ALFeature, groups: int | None) -> ALFeature:
    """The largest of each of ``groups`` equal groups of channels; None leaves each channel its own.

    Raises:
        InvalidArgumentError: the groups do not divide the channels.
    """
    channels = len(feature.get())
    groups = channels if groups is None else groups
    if groups < 1 or channels % groups:
        raise InvalidArgumentError("the groups must divide the channels",
                                   why=f"saw {channels} channels and {groups} groups",
                                   remedy="pass the number of groups of the convolution")
    size = channels // groups
    return ALFeature([max(feature.get()[begin:begin + size]) for begin in range(0, channels, size)])


OPTIMIZORS = NamedClasses("optimizor")
register_optimizor = OPTIMIZORS.register


def get_optimizor(opt_info: str | Sequence) -> Optimizor:
    """The optimizor that a name, or (name, attribute, value, ...), stands for.

    Raises:
        InvalidArgumentError: no such list; an unknown name; see ``Optimizor``.
    """
    parts = (opt_info,) if isinstance(opt_info, str) else opt_info
    name, *rest = parts if isinstance(parts, (tuple, list)) and parts else (None,)
    if not isinstance(name, str) or len(rest) % 2 or not all(isinstance(part, str) for part in rest[::2]) \
            or len(set(rest[::2])) != len(rest[::2]):
        raise InvalidArgumentError("an optimizor is written (opt_type, attribute, value, ...)", why=f"saw {opt_info!r}",
                                   remedy='write it as ("MovingAverage", "c", 0.01)')
    if name not in OPTIMIZORS:
        raise InvalidArgumentError(f"no optimizor is called '{name}'", remedy=f"known are {', '.join(OPTIMIZORS)}")
    return OPTIMIZORS[name](**dict(zip(rest[::2], rest[1::2], strict=True)))
