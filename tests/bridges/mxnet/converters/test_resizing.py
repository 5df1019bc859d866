"""UpSampling and BilinearResize2D; oracle: MXNet 1.9.1."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.errors import InvalidGraphError, UnsupportedOperatorError
from tests.bridges.mxnet.oracle import compare, targets


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_nearest_equals_mxnet(mxnet, scale):
    symbol = mxnet.sym.UpSampling(mxnet.sym.var("data"), scale=scale, sample_type="nearest")
    assert targets(compare(mxnet, symbol, data=(0, 3, 4, 5))) == ["upsample_nearest2d"]


@pytest.mark.parametrize("mode, second", [("concat", (0, 2, 2, 3)), ("concat", (0, 3, 8, 12)), ("sum", (0, 3, 4, 6))])
def test_several_inputs_equal_mxnet(mxnet, mode, second):
    """Every input grows to ``scale`` times the first."""
    names = ("data", "second", "third")
    symbol = mxnet.sym.UpSampling(*map(mxnet.sym.var, names), scale=2, sample_type="nearest", num_args=3,
                                  multi_input_mode=mode)
    module = compare(mxnet, symbol, data=(0, 3, 4, 6), second=second, third=(0, 3, 4, 6))
    assert targets(module) == ["upsample_nearest2d"] * 3 + (["cat"] if mode == "concat" else ["add", "add"])


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
def test_bilinear_equals_mxnet(mxnet, scale):
    """A deconvolution with any weight."""
    symbol = mxnet.sym.UpSampling(mxnet.sym.var("data"), mxnet.sym.var("weight"), scale=scale, sample_type="bilinear",
                                  num_args=2, num_filter=3)
    assert targets(compare(mxnet, symbol, data=(0, 3, 4, 5))) == ["conv_transpose2d"]


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("size", [(8, 9), (5, 7), (1, 1), (3, 2), (10, 14), (1, 9), (4, 1)])
def test_resize_equals_mxnet(mxnet, size, corners):
    """Also to one row, which MXNet takes from the top."""
    symbol = mxnet.sym.contrib.BilinearResize2D(mxnet.sym.var("data"), height=size[0], width=size[1],
                                                align_corners=corners)
    assert targets(compare(mxnet, symbol, data=(0, 3, 5, 7)))[-1] == "upsample_bilinear2d"


@pytest.mark.parametrize("mode", ["odd_scale", "to_even_down", "to_even_up", "to_odd_down", "to_odd_up"])
@pytest.mark.parametrize("extents", [(5, 8), (6, 7)])
def test_modes_equal_mxnet(mxnet, mode, extents):
    scales = dict(scale_height=1.7, scale_width=0.6) if mode == "odd_scale" else {}
    symbol = mxnet.sym.contrib.BilinearResize2D(mxnet.sym.var("data"), mode=mode, **scales)
    compare(mxnet, symbol, data=(0, 3, *extents))


@pytest.mark.parametrize("corners", [True, False])
def test_like_equals_mxnet(mxnet, corners):
    symbol = mxnet.sym.contrib.BilinearResize2D(mxnet.sym.var("data"), mxnet.sym.var("like"), mode="like",
                                                align_corners=corners)
    module = compare(mxnet, symbol, data=(0, 3, 5, 7), like=(0, 2, 4, 11))
    assert targets(module) == ["upsample_bilinear2d"]


def test_any_scale_gives_the_size_mxnet_gives(mxnet):
    """The product is rounded down in float32. Oracle: MXNet's shape inference, and its values."""
    scales = st.one_of(st.sampled_from([0.7, 1.1, 1 / 3, 2.3, 2.0]), st.floats(0.25, 3, width=32))

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(extents=st.tuples(st.integers(1, 40), st.integers(1, 12)), scale=st.tuples(scales, scales),
           odd=st.booleans(), corners=st.booleans())
    def check(extents, scale, odd, corners):
        symbol = mxnet.sym.contrib.BilinearResize2D(
            mxnet.sym.var("data"), scale_height=scale[0], scale_width=scale[1], align_corners=corners,
            mode="odd_scale" if odd else "size")
        if min(symbol.infer_shape(data=(2, 1, *extents))[1][0]) > 0:
            compare(mxnet, symbol, batches=(2,), data=(2, 1, *extents))
    check()


@pytest.mark.parametrize("operator, attributes, shapes, message", [
    ("UpSampling", dict(scale="0", sample_type="nearest"), [(1, 3, 4, 4)], "scale is 0"),
    ("UpSampling", dict(scale="2", sample_type="nearest"), [(1, 3, 4, 4), (1, 3, 3, 3)], "input 1 of shape"),
    ("UpSampling", dict(scale="2", sample_type="bilinear", num_filter="3"), [(1, 3, 4, 4)], "1 inputs"),
    ("UpSampling", dict(scale="2", sample_type="bilinear", num_filter="3"), [(1, 3, 4, 4), (3, 1, 3, 3)],
     "the weight has shape"),
    ("_contrib_BilinearResize2D", dict(scale_height="2"), [(1, 3, 4, 4)], "needs both"),
    ("_contrib_BilinearResize2D", dict(mode="like"), [(1, 3, 4, 4)], "1 inputs"),
    ("_contrib_BilinearResize2D", dict(height="0"), [(1, 3, 4, 4)], "size"),
    ("_contrib_BilinearResize2D", dict(mode="odd_scale"), [(1, 3, 4, 4)], "needs both")])
def test_contradictions_are_named(import_node, operator, attributes, shapes, message):
    """Oracle: MXNet refuses them too."""
    with pytest.raises(InvalidGraphError, match=message):
        import_node(operator, attributes, *shapes)


@pytest.mark.parametrize("operator", ["GridGenerator", "BilinearSampler", "SpatialTransformer", "ROIPooling",
                                      "_contrib_ROIAlign", "_contrib_ModulatedDeformableConvolution",
                                      "_contrib_DeformableConvolution"])
def test_samplers_at_computed_places_are_refused(import_node, operator):
    """No fixed weights: the runtime has nothing for them. Oracle: the error names node and operator, and the advice."""
    with pytest.raises(UnsupportedOperatorError, match=operator) as caught:
        import_node(operator, {}, (1, 3, 4, 4), (1, 2, 4, 4))
    assert "node 'node'" in str(caught.value) and "before these nodes" in caught.value.remedy
