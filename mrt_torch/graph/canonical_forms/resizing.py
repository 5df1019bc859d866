"""Interpolation to another size."""

from __future__ import annotations

from torch import fx

from mrt_torch.graph.editor import shape_of
from mrt_torch.graph.source_call import Call, aten, canonical_form, rank_of

# The operators of two axes by the names of theirs and of those of one axis, without the overload.
OF_TWO_AXES = {
    "upsample_nearest1d": aten.upsample_nearest2d.default, "upsample_nearest2d": aten.upsample_nearest2d.default,
    "_upsample_nearest_exact1d": aten._upsample_nearest_exact2d.default,
    "_upsample_nearest_exact2d": aten._upsample_nearest_exact2d.default,
    "upsample_linear1d": aten.upsample_bilinear2d.default, "upsample_bilinear2d": aten.upsample_bilinear2d.default,
    "_upsample_bilinear2d_aa": aten._upsample_bilinear2d_aa.default,
    "upsample_bicubic2d": aten.upsample_bicubic2d.default,
    "_upsample_bicubic2d_aa": aten._upsample_bicubic2d_aa.default,
}


@canonical_form(*(f"{name}.{overload}" for name in OF_TWO_AXES for overload in ("default", "vec")))
def resize(call: Call) -> fx.Node:
    """(x, [height, width], [align_corners,] scale of height, scale of width); over one axis, over one row.

    Scales are given only where they count: where the size changes, by another factor, and corners are not aligned.
    """
    names = [argument.name for argument in call.target._schema.arguments]
    x = call[names[0]]
    spatial = rank_of(x) - 2
    sizes, extents = call.shape()[2:], shape_of(x)[2:]
    corners = [bool(call["align_corners"])] if "align_corners" in names else []
    scales = [None if corners == [True] or scale is None or size in (extent, extent * scale) else float(scale)
              for scale, extent, size in zip(_scales(call, names, spatial), extents, sizes, strict=True)]
    target = OF_TWO_AXES[call.target._schema.name.removeprefix("aten::")]
    if spatial == 2:
        return call.emit(target, x, sizes, *corners, *scales)
    row = call.emit(aten.unsqueeze.default, x, 2)
    return call.emit(aten.squeeze.dims, call.emit(target, row, [1, *sizes], *corners, None, *scales), [2])


def _scales(call: Call, names: list[str], spatial: int) -> list[float | None]:
    """The factor given for each axis; None for each where a size was given."""
    if "scale_factors" in names:
        factors = call["scale_factors"]
        return [None] * spatial if factors is None else list(factors)
    return [call[name] for name in names if name.startswith("scales")]
