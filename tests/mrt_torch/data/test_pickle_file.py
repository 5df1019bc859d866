"""Pickles of plain data. Oracle: Python's own ``pickle``, which wrote them."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.data.pickle_file import parse_pickle, read_pickle
from mrt_torch.errors import InvalidFileError, MRTError

PROTOCOLS = range(6)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=20)
KEYS = st.text(max_size=5) | st.integers() | st.tuples(st.integers(), st.text(max_size=3))
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple)
                      | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20)
SAMPLE = [([1, 2, 300], 4), (np.arange(5, dtype="<i4"), np.float32(2.5)), {"words": b"\xff\x00", "big": 2**70}]


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_plain_data_comes_back_in_every_protocol(value):
    for protocol in PROTOCOLS:
        read = parse_pickle(pickle.dumps(value, protocol))
        assert repr(read) == repr(value)  # repr also tells 1 from True and 0.0 from -0.0


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", [
    np.arange(12, dtype=">i4").reshape(3, 4), np.arange(6, dtype="f8").reshape(2, 3).T, np.arange(24)[::2],
    np.asfortranarray(np.arange(6, dtype="u1").reshape(3, 2)), np.array([True, False]), np.array(3.5, "f2"),
    np.zeros((0, 3)), np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2)], ids=str)
def test_arrays_come_back(array, protocol):
    read = parse_pickle(pickle.dumps([array, (array, 1)], protocol))
    assert type(read[0]) is np.ndarray and read[0].dtype == array.dtype and np.array_equal(read[0], array)
    assert read[1][0] is read[0] and read[0].flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scalar", [np.float32(3.5), np.int64(-7), np.bool_(True)])
def test_numpy_scalars_come_back(scalar, protocol):
    read = parse_pickle(pickle.dumps(scalar, protocol))
    assert type(read) is type(scalar) and read == scalar


@pytest.mark.parametrize(("content", "expected"), [
    (b"\x80\x02cnumpy._core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85q\x02c_codecs\nencode\nq\x03X"
     b"\x01\x00\x00\x00bq\x04X\x06\x00\x00\x00latin1q\x05\x86q\x06Rq\x07\x87q\x08Rq\t(K\x01K\x02\x85q\ncnumpy\ndtype\nq"
     b"\x0bX\x02\x00\x00\x00i2q\x0c\x89\x88\x87q\rRq\x0e(K\x03X\x01\x00\x00\x00<q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff"
     b"\xffK\x00tq\x10b\x89h\x03X\x04\x00\x00\x00\x01\x00\x02\x00q\x11h\x05\x86q\x12Rq\x13tq\x14b.",
     np.array([1, 2], "<i2")),
    (b"\x80\x05\x95\x98\x00\x00\x00\x00\x00\x00\x00\x8c\x13numpy._core.numeric\x94\x8c\x0b_frombuffer\x94\x93\x94(\x96"
     b"\x18\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15"
     b"\x16\x17\x94\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02u1\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01|\x94NNNJ"
     b"\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bK\x02K\x03K\x04\x87\x94\x8c\x01K\x94K\x02K\x00K\x01\x87\x94t\x94R\x94.",
     np.arange(24, dtype="u1").reshape(2, 3, 4).transpose(2, 0, 1)),
    (b"\x80\x05\x95f\x00\x00\x00\x00\x00\x00\x00\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94\x8c\x05numpy"
     b"\x94\x8c\x05dtype\x94\x93\x94\x8c\x02f4\x94\x89\x88\x87\x94R\x94(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff"
     b"\xff\xffK\x00t\x94bC\x04\x00\x00`@\x94\x86\x94R\x94.", np.float32(3.5))],
    ids=["protocol 2", "axes in another order", "scalar"])
def test_what_numpy_2_wrote(content, expected):
    """Written by NumPy 2.5.5, whose modules have other names and whose arrays of other orders another form."""
    read = parse_pickle(content)
    assert read.dtype == expected.dtype and read.shape == expected.shape and (read == expected).all()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lists_that_hold_themselves(protocol):
    ring = [1]
    ring.append(ring)
    read = parse_pickle(pickle.dumps(ring, protocol))
    assert read[1] is read
    knot = ([],)
    knot[0].append(knot)
    read = parse_pickle(pickle.dumps(knot, protocol))
    assert read[0][0] is read


def test_text_of_python_2_is_latin_1():
    """``cPickle.dumps(['a\\xe9'], 2)`` of Python 2."""
    assert parse_pickle(b"\x80\x02]q\x01U\x02a\xe9q\x02a.") == ["a\xe9"]


class _Command:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class _Plain:
    pass


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_command_is_refused_and_not_run(tmp_path, protocol):
    proof = tmp_path / "proof"
    for value in (_Command(proof), [1, {"a": (_Command(proof),)}], np.array([_Command(proof)], object)):
        with pytest.raises(InvalidFileError, match=r"byte \d+, opcode (GLOBAL|STACK_GLOBAL|REDUCE)"):
            parse_pickle(pickle.dumps(value, protocol))
    assert not proof.exists()
    pickle.loads(pickle.dumps(_Command(proof), protocol))  # noqa: S301  the command does work
    assert proof.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", [{1, 2}, frozenset(), 1j, _Plain(), _Plain, np.dtype("f4"), np.ndarray, len,
                                   np.array(["a"]), np.zeros(2, [("a", "f4")]), np.array([None])], ids=repr)
def test_other_things_are_refused(value, protocol):
    with pytest.raises(InvalidFileError, match="more than plain data"):
        parse_pickle(pickle.dumps(value, protocol))


@pytest.mark.parametrize(("content", "opcode", "why"), [
    (b"", "none", "exhausted"), (b"I1\n", "INT", "exhausted"), (b".", "STOP", "one value"),
    (b"NN.", "STOP", "one value"), (b"(N.", "STOP", "one value"), (b"N.N", "STOP", "1 bytes after"),
    (b"a.", "APPEND", "empty"), (b"t.", "TUPLE", "empty"), (b"NNa.", "APPEND", "than a list"),
    (b"}Na.", "APPEND", "than a list"), (b"](NNu.", "SETITEMS", "than a dictionary"),
    (b"}(Nu.", "SETITEMS", "than a dictionary"), (b"}]Ns.", "SETITEM", "a key that"),
    (b"}((]tNu.", "SETITEMS", "a key that"), (b"g7\n.", "GET", "7"), (b"N\x86.", "TUPLE2", "too few"),
    (b"cos\nsystem\n.", "GLOBAL", "os.system"), (b"]]\x93.", "STACK_GLOBAL", "unhashable"),
    (b"cnumpy\nndarray\n.", "STOP", "one value"), (b"]cnumpy\nndarray\na.", "APPEND", "no plain data"),
    (b"NNR.", "REDUCE", "a call of"), (b"NNb.", "BUILD", "state of"),
    (b"cnumpy\nndarray\n)R.", "REDUCE", "arguments of 'ndarray'"), (b"ios\nsystem\n.", "INST", "does not build"),
    (b"\x8f.", "EMPTY_SET", "does not build"), (b"Pa\n.", "PERSID", "does not build"),
    (b"\x82\x01.", "EXT1", "does not build"), (b"\x97.", "NEXT_BUFFER", "does not build")])
def test_the_message_names_byte_and_instruction(content, opcode, why):
    with pytest.raises(InvalidFileError, match=f"opcode {opcode}") as caught:
        parse_pickle(content, "x.pk")
    assert why in caught.value.why and caught.value.where.startswith("x.pk, byte ") and caught.value.remedy


def test_arrays_must_have_as_many_bytes_as_they_say():
    good = pickle.dumps(np.arange(3, dtype="<i4"), 2)
    with pytest.raises(InvalidFileError, match="12 bytes for an array of shape"):
        parse_pickle(good.replace(b"K\x03\x85", b"K\x09\x85"))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PROTOCOLS), st.data())
def test_damaged_files_are_read_or_refused(protocol, data):
    content = bytearray(pickle.dumps(SAMPLE, protocol))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_pickle(bytes(content[:data.draw(st.integers(0, len(content)))]))
        parse_pickle(bytes(content))
    except MRTError as error:
        assert error.where and error.remedy


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(content):
    try:
        parse_pickle(content + b".")
    except InvalidFileError as error:
        assert "opcode" in error.where


def test_a_deeply_nested_key_is_refused():
    """Python itself overflows its stack when it hashes this key."""
    with pytest.raises(InvalidFileError, match="a key"):
        parse_pickle(b"}" + b"N" + b"\x85" * 500_000 + b"Ns.")


def test_a_missing_file_is_an_error_of_ours(tmp_path):
    with pytest.raises(InvalidFileError, match="cannot be read"):
        read_pickle(tmp_path / "none.pk")
    (tmp_path / "one.pk").write_bytes(pickle.dumps([1]))
    assert read_pickle(tmp_path / "one.pk") == [1]
