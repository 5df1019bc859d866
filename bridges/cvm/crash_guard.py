"""What the CVM runtime does not check and crashes on: refused before a model is handed to it."""

from __future__ import annotations

from bridges.cvm.symbol_file import CvmSymbol
from mrt_torch.cvm.attribute_text import parse_integers
from mrt_torch.cvm.shape import resolve_shape
from mrt_torch.errors import InvalidArgumentError, InvalidFileError

# Codes of reshape for which the runtime computes an extent by division.
DIVIDING_CODES = (-1, -4)


def refuse_crashes(symbol: CvmSymbol) -> None:
    """Check what ``parse_symbol`` cannot, because it takes the meaning of operators.

    Raises:
        InvalidFileError: a convolution or a reshape would make the runtime corrupt its memory or divide by 0.
    """
    _check_convolutions(symbol)
    _check_reshapes(symbol)


def _check_convolutions(symbol: CvmSymbol) -> None:
    """The runtime does not compare a weight with the attributes and corrupts its memory where they differ."""
    offsets = symbol.row_offsets
    for node in symbol.nodes:
        if node.operator == "conv2d" and len(node.inputs) > 1:
            data, weight = (symbol.shapes[offsets[index] + output] for index, output in node.inputs[:2])
            try:
                kernel = parse_integers(node.attributes["kernel_size"])
                channels = parse_integers(node.attributes["channels"])[0]
                groups = parse_integers(node.attributes.get("groups", "1"))[0]
            except (LookupError, ValueError) as error:
                raise InvalidFileError(
                    "a convolution of the CVM model lacks attributes", where=f"node '{node.name}'",
                    why=f"{type(error).__name__}: {error}",
                    remedy="export the model again") from error
            if groups < 1 or len(data) != 4 or weight != (channels, data[1] // groups, *kernel):
                raise InvalidFileError(
                    "a convolution's weight does not fit its attributes", where=f"node '{node.name}'",
                    why=f"data {data}, weight {weight}, channels {channels}, kernel {kernel}, "
                        f"groups {groups}; the runtime would corrupt its memory",
                    remedy="export the model again")


def _check_reshapes(symbol: CvmSymbol) -> None:
    """The runtime divides by products that may be 0 and writes an inferred extent beyond the shape."""
    for node in symbol.nodes:
        if node.operator != "reshape" or len(node.inputs) != 1:
            continue
        try:
            codes = parse_integers(node.attributes["shape"])
        except (LookupError, ValueError):
            continue  # the runtime refuses what it cannot parse
        try:
            if any(code in DIVIDING_CODES for code in codes):
                resolve_shape(symbol.shapes[symbol.entry(node.inputs[0])], codes)
        except InvalidArgumentError as error:
            raise InvalidFileError("a reshape could crash the CVM runtime", where=f"node '{node.name}'",
                                   why=error.why or error.what, remedy="export the model again") from error
