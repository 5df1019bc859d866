"""Files of numpy. Oracle: numpy wrote them; what was damaged."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data.numeric_arrays import load_array, load_arrays
from mrt_torch.errors import InvalidFileError, MRTError


class Trap:
    """Raises when a pickle of it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["?", "u1", ">i4", "f2", "f8"])
def test_arrays_of_numbers_are_read(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (tmp_path / "a.npy").write_bytes(npy(array))
    (tmp_path / "a.npz").write_bytes(npz(a=array, b=array.T))
    for read in (load_array(tmp_path / "a.npy"), load_arrays(tmp_path / "a.npz")["a"]):
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
    assert isinstance(load_array(tmp_path / "a.npy"), np.memmap)


@pytest.mark.parametrize(("array", "why"), [
    (np.array([Trap()], object), "(O|o)bject"), (np.array(["text"]), "<U4"), (np.array([1j]), "complex128"),
    (np.array([(1, 2.0)], "i4,f4"), "f0"), (np.array(["2020-01-01"], "M8[D]"), "datetime64")])
def test_what_is_no_number_is_refused_and_never_executed(tmp_path, array, why):
    (tmp_path / "a.npy").write_bytes(npy(array))
    (tmp_path / "a.npz").write_bytes(npz(b=array))
    with pytest.raises(InvalidFileError, match=why):
        load_array(tmp_path / "a.npy")
    with pytest.raises(InvalidFileError, match=why):
        load_arrays(tmp_path / "a.npz")


def test_a_file_of_the_other_format_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(npz(a=np.zeros(2)))
    (tmp_path / "b").write_bytes(npy(np.zeros(2)))
    with pytest.raises(InvalidFileError, match="archive"):
        load_array(tmp_path / "a")
    with pytest.raises(InvalidFileError, match="zip"):
        load_arrays(tmp_path / "b")


def test_an_archive_of_other_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("text", b"no array")
    with pytest.raises(InvalidFileError, match="its type is bytes"):
        load_arrays(tmp_path / "a.npz")


def test_a_shape_beyond_all_memory_is_refused(tmp_path):
    header = npy(np.zeros(2)).replace(b"(2,), }", b"(10**15,)", 1).replace(b"10**15", b"9" * 15)
    (tmp_path / "a.npy").write_bytes(header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", header)
    with pytest.raises(InvalidFileError):
        load_array(tmp_path / "a.npy")
    with pytest.raises(InvalidFileError):
        load_arrays(tmp_path / "a.npz")


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(["npy", "npz"]), st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory, form, data):
    """Oracle: nothing but arrays and MRTError comes out."""
    path = tmp_path_factory.mktemp("damaged") / f"a.{form}"
    array = np.arange(6, dtype="f4")
    content = bytearray(npy(array) if form == "npy" else npz(a=array, b=array))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[:data.draw(st.integers(0, len(content)))])
    try:
        read = load_arrays(path) if form == "npz" else {"a": load_array(path)}
        assert all(isinstance(each, np.ndarray) for each in read.values())
    except MRTError:
        pass
