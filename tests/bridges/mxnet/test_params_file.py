"""Oracles: MXNet 1.9.1 on the same file, and files packed by hand from the layout in MXNet's source."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as array_strategies

from bridges.mxnet.params_file import read_params, split_prefixes, strip_prefixes, write_params
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from tests.bridges.mxnet.packed_params import CPU, pack, pack_dense

SHARED = ["cifar_resnet8", "lffd_plate_small", "mnist_lenet", "mobilenet_v1_025_imagenet", "mtcnn_det1",
          "mtcnn_det2", "mtcnn_det3"]
DTYPES = ["float16", "float32", "float64", "uint8", "int8", "int32", "int64"]


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Names in order, then dtypes and shapes, then bytes (NaN equals NaN)."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("name", SHARED)
def test_shared_file_is_read_and_written_as_mxnet_does(mxnet, shared_models, tmp_path, name):
    path = shared_models / f"{name}-0000.params"
    loaded = mxnet.nd.load(str(path))
    assert_same(read_params(path), {key: array.asnumpy() for key, array in loaded.items()})
    mxnet.nd.save(str(tmp_path / "mxnet.params"), loaded)
    write_params(tmp_path / "ours.params", read_params(path))
    assert (tmp_path / "ours.params").read_bytes() == (tmp_path / "mxnet.params").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["mxnet.params", "ours.params"]


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
def test_dtypes_of_mxnet(mxnet, tmp_path, dtype):
    expected = {"arg:a": np.arange(-3, 3).reshape(2, 1, 3).astype(dtype), "plain": np.array([1], dtype)}
    path = str(tmp_path / "x.params")
    mxnet.nd.save(path, {name: mxnet.nd.array(array, dtype=dtype) for name, array in expected.items()})
    assert_same(read_params(path), expected)
    if dtype != "bool":
        write_params(tmp_path / "y.params", expected)
        again = mxnet.nd.load(str(tmp_path / "y.params"))
        assert_same({name: array.asnumpy() for name, array in again.items()}, expected)


def test_bfloat16_is_widened_exactly(mxnet, tmp_path):
    """Oracle: MXNet's own cast of the stored values to float32."""
    path = str(tmp_path / "x.params")
    pytest.importorskip("ml_dtypes")  # numpy knows the type, which MXNet asks it for, once this is imported
    stored = mxnet.nd.amp_cast(mxnet.nd.array([1.5, -2.0, 1e-40, 3e38, np.inf, 0.1]), dtype="bfloat16")
    mxnet.nd.save(path, {"a": stored})
    assert_same(read_params(path), {"a": mxnet.nd.amp_cast(stored, dtype="float32").asnumpy()})


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 1)])
def test_bfloat16_of_any_shape(tmp_path, shape):
    """Oracle: -2.5 is exact in both types; 0xC020 are the upper two bytes of its float32."""
    count = int(np.prod(shape))
    packed = pack_dense(shape, 12, struct.pack("<H", 0xC020) * count, magic=0xF993FACA)
    (tmp_path / "x.params").write_bytes(pack([packed], [b"a"]))
    assert_same(read_params(tmp_path / "x.params"), {"a": np.full(shape, -2.5, np.float32)})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 0), (3,), (2, 1, 2)])
def test_numpy_shapes_of_mxnet(mxnet, tmp_path, dtype, shape):
    """V3: scalars and arrays without elements, written by MXNet under np_shape."""
    expected = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    path = str(tmp_path / "x.params")
    with mxnet.util.np_shape(True):
        mxnet.nd.save(path, {"a": mxnet.nd.array(expected, dtype=dtype)})
    assert (tmp_path / "x.params").read_bytes()[24:28] == struct.pack("<I", 0xF993FACA)
    assert_same(read_params(path), {"a": expected})


def test_legacy_and_v1_arrays(mxnet, tmp_path):
    """Oracle: the packed values, and MXNet on the same file. A GPU as the device changes nothing."""
    values = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    whole = np.array([[2**60], [-5]])
    gpu = struct.pack("<2i", 2, 3)
    path = tmp_path / "x.params"
    path.write_bytes(pack([
        struct.pack("<3I", 2, 2, 3) + CPU + struct.pack("<i", 0) + values.tobytes(),
        struct.pack("<3I", 2, 2, 1) + gpu + struct.pack("<i", 6) + whole.tobytes(),
        struct.pack("<Ii2q", 0xF993FAC8, 2, 2, 3) + gpu + struct.pack("<i", 0) + values.tobytes(),
    ], [b"legacy", b"legacy whole", b"v1"]))
    expected = {"legacy": values, "legacy whole": whole, "v1": values}
    assert_same(read_params(path), expected)
    assert_same({name: array.asnumpy() for name, array in mxnet.nd.load(str(path)).items()}, expected)


@pytest.mark.parametrize(("flag", "dtype"), [(8, "int16"), (9, "uint16"), (10, "uint32"), (11, "uint64")])
def test_dtypes_of_mxnet_2(tmp_path, flag, dtype):
    """Oracle: the packed values (MXNet 1.9.1 does not know these types)."""
    values = np.array([1, 2, 100], dtype)
    (tmp_path / "x.params").write_bytes(pack([pack_dense((3,), flag, values.tobytes())], [b"a"]))
    assert_same(read_params(tmp_path / "x.params"), {"a": values})


def test_arrays_are_aligned_writable_and_apart(tmp_path):
    """Oracle: NumPy's flags; writing one array leaves its neighbours alone."""
    params = {f"a{size}": np.arange(size, dtype=dtype)
              for size, dtype in [(1, "u1"), (3, "f8"), (5, "f2"), (7, "i8")]}
    write_params(tmp_path / "x.params", params)
    found = read_params(tmp_path / "x.params")
    for array in found.values():
        assert array.flags.writeable and array.flags.aligned and array.flags.c_contiguous
    found["a3"][:] = np.nan
    del found["a3"], params["a3"]
    assert_same(found, params)


def test_empty_mapping(tmp_path):
    """Oracle: nothing in, nothing out."""
    write_params(tmp_path / "x.params", {})
    assert read_params(tmp_path / "x.params") == {}


def test_any_memory_order_is_written_in_c_order(mxnet, tmp_path):
    array = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    arrays = {"transposed": array.T, "strided": array[:, ::2], "big endian": array.astype(">i4")}
    write_params(tmp_path / "x.params", arrays)
    expected = {name: np.ascontiguousarray(value, np.int32) for name, value in arrays.items()}
    assert_same(read_params(tmp_path / "x.params"), expected)
    loaded = mxnet.nd.load(str(tmp_path / "x.params"))
    assert_same({name: value.asnumpy() for name, value in loaded.items()}, expected)


@pytest.mark.parametrize(("params", "message"), [
    ({"a": np.float32(1)}, "float32"),
    ({"a": [1.0]}, "list"),
    ({"a": np.array(1.0)}, "no array"),
    ({"a": np.zeros((0, 3))}, "no array"),
    ({"a": np.array(["x"])}, "dtype is <U1"),
    ({"a": np.array([True])}, "dtype is bool"),
    ({"a": np.array([1j])}, "dtype is complex128"),
    ({5: np.array([1.0])}, "name 5"),
    ({"\ud800": np.array([1.0])}, "Unicode"),
    ({"a" * 513: np.array([1.0])}, "513 bytes"),
    ({str(i): np.ones(1) for i in range(2**15 + 1)}, "32769 arrays"),
])
def test_what_mxnet_could_not_read_back_is_not_written(tmp_path, params, message):
    """Oracle: the rules in the docstring of write_params."""
    with pytest.raises(InvalidArgumentError, match=message):
        write_params(tmp_path / "x.params", params)
    assert os.listdir(tmp_path) == []


def test_prefixes():
    """Oracle: MXNet's convention, arg: for arguments and aux: for auxiliary states."""
    a, b, c = np.zeros(1), np.ones(1), np.full(1, 2)
    arguments, states = split_prefixes({"arg:a": a, "aux:b": b, "arg:aux:c": c})
    assert (arguments, states) == ({"a": a, "aux:c": c}, {"b": b})
    assert strip_prefixes({"arg:a": a, "b": b, "aux:c": c, "argument:d": a}) == {
        "a": a, "b": b, "c": c, "argument:d": a}
    for params in ({"arg:a": a, "aux:a": b}, {"a": a, "arg:a": b}):
        with pytest.raises(InvalidFileError, match="x.params, '(aux|arg):a'"):
            strip_prefixes(params, source="x.params")
    for name in ("a", "args:a", ":a"):
        with pytest.raises(InvalidFileError, match="neither"):
            split_prefixes({"arg:x": a, name: b})


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(DTYPES).flatmap(lambda dtype: array_strategies.arrays(
        dtype, array_strategies.array_shapes(max_dims=5, max_side=4))),
    max_size=5))
def test_round_trip_of_any_arrays(tmp_path_factory, params):
    """Oracle: the arrays themselves, bit for bit, and the same bytes when written twice."""
    folder = tmp_path_factory.mktemp("params")
    write_params(folder / "x.params", params)
    found = read_params(folder / "x.params")
    assert_same(found, params)
    write_params(folder / "y.params", found)
    assert (folder / "x.params").read_bytes() == (folder / "y.params").read_bytes()
