"""The README's examples run as pasted. Oracle: they raise nothing and write what they say."""

import re
from pathlib import Path

import pytest
import torch

from mrt_torch import Model
from mrt_torch.data import DS_REG
from mrt_torch.ops import TRANSFORMERS

README = Path(__file__).resolve().parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_main_example(in_an_empty_folder):
    namespace = {}
    exec(compile(EXAMPLES[0], str(README), "exec"), namespace)  # noqa: S102  our own text
    assert {path.name for path in (in_an_empty_folder / "output" / "digits").iterdir()} == {"symbol", "params", "ext"}
    again = Model.load(in_an_empty_folder / "digits.json", in_an_empty_folder / "digits.safetensors")
    assert torch.equal(again(namespace["images"]), namespace["quantized"](namespace["images"]))


class Sinc(torch.nn.Module):
    def forward(self, x):
        return torch.sinc(x)


def test_a_data_set_of_ones_own():
    """Every other picture is bright: both classes are told apart."""
    namespace = {}
    try:
        exec(compile(EXAMPLES[1], str(README), "exec"), namespace)  # noqa: S102  our own text
    finally:
        DS_REG.pop("squares", None)
    assert namespace["report"]["brightness"].values["top1"] == 1.0 and namespace["report"].examples == 64


def test_halves_are_merged():
    """Oracle: the labels; both merged networks tell the digits apart as the whole one does."""
    namespace = {}
    exec(compile(EXAMPLES[2], str(README), "exec"), namespace)  # noqa: S102  our own text
    digits = namespace["digits"]
    for merged in (namespace["whole"], namespace["partly"]):
        assert digits.accuracy(merged(digits.test_images)) > 0.97


def test_an_operator_of_ones_own():
    exec(compile(EXAMPLES[3], str(README), "exec"), {})  # noqa: S102  our own text
    try:
        inputs = torch.linspace(-4, 4, 64).reshape(8, 8)
        model = Model.from_torch(Sinc(), inputs)
        model.prepare((1, 8))
        mrt = model.get_mrt()
        mrt.set_input_prec(12)
        mrt.set_data(inputs)
        mrt.calibrate()
        # Half a unit of the 12-bit input, by the steepest slope of the function, 1.37; the table adds 2**-16.
        error = (mrt.quantize()(inputs) - torch.sinc(inputs)).abs().max()
        assert error <= 0.5 * 4 / 2047 * 1.37 + 4 * 2 ** -16
    finally:
        TRANSFORMERS.unregister(torch.ops.aten.sinc.default)


def test_every_example_is_run():
    assert len(EXAMPLES) == 4
