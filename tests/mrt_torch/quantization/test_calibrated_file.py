"""Features and the sample in files. Oracle: what was written; hostile files by hand."""

from __future__ import annotations

import json
import os
import pickle

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mrt_torch.calibration.features import AFeature, ALFeature, MMFeature, MMLFeature
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.quantization.calibrated_file import features_from_json, features_to_json, load_sample, save_sample

numbers = st.floats(allow_nan=False, allow_infinity=False)
pairs = st.tuples(numbers, numbers).map(sorted)
features = st.one_of(
    st.floats(0, 1e300).map(AFeature), st.lists(st.floats(0, 1e300), min_size=1, max_size=4).map(ALFeature),
    pairs.map(lambda ends: MMFeature(*ends)),
    st.lists(pairs, min_size=1, max_size=4).map(lambda ends: MMLFeature(*zip(*ends, strict=True))))


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(max_size=8), features, max_size=4),
       st.dictionaries(st.tuples(st.text(max_size=8), st.integers(1, 64)), features, max_size=4))
def test_features_come_back_through_json(named, operands):
    """Exactly: JSON keeps the shortest decimals that give a double back."""
    text = json.dumps(features_to_json(named, operands), allow_nan=False)
    assert features_from_json(*json.loads(text)) == (named, operands)


@pytest.mark.parametrize("named, operands", [
    ([], []), (None, []), ({}, None), ({}, 5), ({"a": 5}, []), ({"a": []}, []), ({"a": ["Absmax"]}, []),
    ({"a": ["Absmax", -1.0]}, []), ({"a": ["Absmax", "one"]}, []), ({"a": ["Unheard", 1.0]}, []),
    ({"a": ["MinMax", 2.0, 1.0]}, []), ({"a": ["MinMaxList", [1.0], []]}, []), ({"a": ["MinMax", 1.0]}, []),
    ({"a": ["Absmax", float("nan")]}, []), ({"a": ["Absmax", 10 ** 400]}, []), ({"a": ["MinMaxList", 1.0, 2.0]}, []),
    ({}, [["a", ["Absmax", 1.0]]]), ({}, [["a", "some", ["Absmax", 1.0]]]), ({}, [["a", None, ["Absmax", 1.0]]]),
    ({}, ["abc"]), ({}, [["a", 1, ["Absmax", -1.0]]]), ({}, [["a", float("inf"), ["Absmax", 1.0]]]),
    ({}, [["a", 0, ["Absmax", 1.0]]]), ({}, [["a", -2, ["Absmax", 1.0]]]), ({}, [["a", 1.5, ["Absmax", 1.0]]]),
    ({}, [[["a"], 1, ["Absmax", 1.0]]]), ({}, {"abc": 1})], ids=repr)
def test_other_values_are_refused(named, operands):
    with pytest.raises(InvalidArgumentError):
        features_from_json(named, operands)


@pytest.mark.parametrize("sample", [
    torch.randn(5, 3, 2, 2), torch.randn(2, 3).double(), torch.randint(-9, 9, (4, 1)), torch.randn(6, 4).t()[1:3],
    torch.tensor([[True, False]])], ids=lambda sample: f"{sample.dtype}{tuple(sample.shape)}")
def test_a_sample_comes_back(tmp_path, sample, monkeypatch):
    """Bit by bit, with its type; nothing is unpickled."""
    def refuse(*_, **__):
        raise AssertionError("unpickled")
    save_sample(tmp_path / "s", sample)
    monkeypatch.setattr(pickle, "loads", refuse)
    found = load_sample(tmp_path / "s")
    assert found.dtype == sample.dtype and torch.equal(found, sample)
    assert os.listdir(tmp_path) == ["s"]


def test_the_same_sample_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_sample(tmp_path / name, torch.arange(12.0).reshape(3, 4))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_a_sample_an_earlier_one_is_removed(tmp_path):
    assert load_sample(tmp_path / "s") is None
    save_sample(tmp_path / "s", None)
    save_sample(tmp_path / "s", torch.zeros(1, 2))
    save_sample(tmp_path / "s", None)
    assert load_sample(tmp_path / "s") is None and not os.listdir(tmp_path)


def hostile() -> dict[str, bytes]:
    """Truncated, mutated and other files."""
    good = safetensors.torch.save({"sample": torch.randn(3, 4)})
    return {"empty": b"", "short": good[:10], "no data": good[:-8], "no header": good[8:], "trailing": good + b"more",
            "text": b"not a file", "pickle": pickle.dumps({"sample": 1}), "another name": safetensors.torch.save(
                {"other": torch.zeros(2)}), "huge header": b"\xff" * 8 + good[8:],
            "unknown type": good.replace(b"F32", b"X32"), "shape": good.replace(b"[3,4]", b"[4,4]"),
            "not utf-8": good[:8] + b"\xff" + good[9:]}


@pytest.mark.parametrize("name", hostile())
def test_a_corrupt_sample_is_named(tmp_path, name):
    path = tmp_path / "net.mrt.sample.safetensors"
    path.write_bytes(hostile()[name])
    with pytest.raises(InvalidFileError, match="sample") as caught:
        load_sample(path)
    assert str(path) in caught.value.where


def test_a_folder_is_no_sample(tmp_path):
    with pytest.raises(InvalidFileError, match="sample"):
        load_sample(tmp_path)
