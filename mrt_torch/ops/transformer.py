"""The base of all operator classes: one class per operator, one method per pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import fx

from mrt_torch.errors import UnsupportedOperatorError
from mrt_torch.graph.editor import GraphEditor, shape_of
from mrt_torch.graph.facts import describe

if TYPE_CHECKING:
    from mrt_torch.quantization.context import QuantizationContext

PASSES = ("validate", "rewrite", "fuse_transpose", "calculate_ops", "quantize", "prepare_for_compile", "compile")
# Their default is right for every operator that does not override them, so no class has to name them.
OPTIONAL_PASSES = ("slice_channel",)


class Transformer:
    """Abstract operator; subclasses override the passes where the default is not right.

    ``validate``, ``rewrite``, ``fuse_transpose`` and ``slice_channel`` work on the float graph; ``quantize`` emits the
    operator's integer nodes; ``prepare_for_compile`` and ``compile`` work on integer nodes, for which the table of
    ``mrt_torch.cvm`` holds all that is needed, so their defaults do nothing. Register a subclass with
    ``register_transformer`` and name the defaults it relies on with ``register_pass``.
    (MRT Operator API, ``mrt.tfm_base.Transformer``.)
    """

    #: The operator's name in MXNet, by which precisions are configured and reports are written.
    op_name: ClassVar[str] = "none"
    #: CVM operators that ``quantize`` emits, those that requantize its inputs apart.
    cvm_operators: ClassVar[tuple[str, ...]] = ()
    #: What ``rewrite`` makes of it where it does not survive until quantize, as a short formula.
    rewritten_into: ClassVar[str] = ""
    #: What ``validate`` refuses, or the integer form cannot do, in one sentence; empty where nothing is.
    limits: ClassVar[str] = ""
    registered_passes: ClassVar[frozenset[str]] = frozenset()

    def has_pass(self, name: str) -> bool:
        """Whether the class overrides the pass or declares that the default is right."""
        return name in self.registered_passes or name in OPTIONAL_PASSES or self.overrides(name)

    def overrides(self, name: str) -> bool:
        """Whether the class has a form of the pass of its own."""
        return getattr(type(self), name) is not getattr(Transformer, name)

    def validate(self, op: fx.Node, **context: Any) -> str | None:
        """Reason why this use of the operator cannot be quantized, or None."""
        return None

    def rewrite(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Equivalent nodes that are easier to quantize; returns the node that replaces ``op``."""
        return op

    def fuse_transpose(self, op: fx.Node, *, editor: GraphEditor, **context: Any) -> fx.Node:
        """Move or merge adjacent transposes; returns the node that replaces ``op``."""
        return op

    def calculate_ops(self, op: fx.Node, **context: Any) -> int:
        """Number of elementary operations: the number of output elements."""
        count = 1
        for extent in shape_of(op):
            count *= extent
        return count

    def quantize(self, op: fx.Node, *, context: QuantizationContext, **keywords: Any) -> fx.Node:
        """Emit integer nodes for ``op``; returns the node that holds its value, with its scale in the facts."""
        raise UnsupportedOperatorError(
            f"{type(self).__name__} has no integer form", where=describe(op),
            remedy="override quantize in its Transformer, or split the model before this node")

    def slice_channel(self, op: fx.Node, **kwargs: Any) -> fx.Node:
        """The operator on slices of its input channels, for channel-wise granularity; returns what replaces ``op``.

        Does nothing by default. It is given ``editor``, and ``gn_info`` as it is configured for the node.
        """
        return op

    def prepare_for_compile(self, op: fx.Node, **context: Any) -> fx.Node:
        """Last changes of the integer graph once the batch is fixed."""
        return op

    def compile(self, op: fx.Node, **context: Any) -> fx.Node:
        """The CVM form of an integer node: itself, since the integer stage holds CVM operators only."""
        return op
