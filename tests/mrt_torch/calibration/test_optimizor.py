"""Oracle: the rules for attributes of mrt-gen section 6, and an optimizor of the user written here."""

from __future__ import annotations

import pytest
import torch

from mrt_torch.calibration import (
    AFeature,
    ALFeature,
    Calibrator,
    HVOptimizor,
    KLDOptimizor,
    MAOptimizor,
    MMLFeature,
    MSEOptimizor,
    Optimizor,
    OutlierRemovalOptimizor,
    PercentileOptimizor,
    get_optimizor,
    register_optimizor,
)
from mrt_torch.calibration.optimizor import OPTIMIZORS
from mrt_torch.calibration.optimizor_observer import OptimizorObserver
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from tests.mrt_torch.calibration.observing import observe, statistics
from tests.mrt_torch.small_models import images, prepared

NAMES = {"HistoricalValue": HVOptimizor, "MovingAverage": MAOptimizor, "KLDivergence": KLDOptimizor,
         "OutlierRemoval": OutlierRemovalOptimizor, "Percentile": PercentileOptimizor, "MSE": MSEOptimizor}


class Half(Optimizor):
    """A share of the largest magnitude, as a user writes one; the largest of all batches."""

    name = "test_optimizor.Half"
    attributes = {"share": (0.5, (float,)), "mode": ("max", (str, type(None)))}
    quant_types = ("UniformSymmetric", "GroupConv")

    def get_opt(self, raw_ft, out, *, hist_ft=None, name=None, logger=None):
        if isinstance(raw_ft, ALFeature):
            return ALFeature([value * self.share for value in raw_ft.get()])
        return AFeature(max(raw_ft.get() * self.share, hist_ft.get() if hist_ft else 0.0))


class Shapeless(Half):
    """Gives a number in place of a feature."""

    name = "test_optimizor.Shapeless"

    def get_opt(self, raw_ft, out, *, hist_ft=None, name=None, logger=None):
        return 1.0


def test_the_registry():
    assert {name: OPTIMIZORS[name] for name in NAMES} == NAMES
    register_optimizor(Half)
    try:
        assert isinstance(get_optimizor("test_optimizor.Half"), Half)
        with pytest.raises(InvalidArgumentError, match="registered already"):
            register_optimizor(Half)
    finally:
        del OPTIMIZORS[Half.name]
    with pytest.raises(InvalidArgumentError, match="no optimizor(.|\n)*HistoricalValue"):
        get_optimizor("test_optimizor.Half")


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizor_has_defaults_types_and_a_key(name):
    made = NAMES[name]()
    assert made.key[0] == name and get_optimizor(made.key).key == get_optimizor(name).key == made.key
    assert list(made.list_attr_types()) == list(made.key[1::2])
    assert set(made.list_supported_quant_types()) <= {"UniformSymmetric", "UniformAffine", "GroupConv"}
    assert repr(made).startswith(NAMES[name].__name__ + "(")


def test_documented_defaults():
    assert HVOptimizor().key == ("HistoricalValue", "lambd", None)
    assert MAOptimizor().key == ("MovingAverage", "c", 0.01)
    assert KLDOptimizor().key == ("KLDivergence", "bucket_bit", 12, "quant_bit", 8, "eps", 1e-4)
    assert KLDOptimizor.list_supported_quant_types() == ("UniformSymmetric",)
    assert MAOptimizor.list_supported_quant_types() == ("UniformSymmetric", "UniformAffine")


def test_an_int_is_a_float_and_a_text_is_none():
    assert (HVOptimizor(lambd=25).lambd, type(HVOptimizor(lambd=25).lambd)) == (25.0, float)
    assert HVOptimizor(lambd="_NoneType").lambd is None
    assert get_optimizor(["HistoricalValue", "lambd", "_NoneType"]).lambd is None
    assert Half(mode=None).mode is None and Half(mode="min").mode == "min"


@pytest.mark.parametrize("make,what", [
    (lambda: HVOptimizor(c=1), "'HistoricalValue' has no attribute 'c'(.|\n)*are lambd"),
    (lambda: HVOptimizor(lambd="25"), "'lambd'(.|\n)*None or float"), (lambda: HVOptimizor(lambd=True), "'lambd'"),
    (lambda: HVOptimizor(lambd=-1), "'lambd'"), (lambda: HVOptimizor(lambd=float("nan")), "'lambd'"),
    (lambda: HVOptimizor(lambd=float("inf")), "'lambd'"),
    (lambda: MAOptimizor(c=None), "'c'(.|\n)*of type float"), (lambda: MAOptimizor(c="_NoneType"), "'c'"),
    (lambda: MAOptimizor(c=0), "'c'"), (lambda: MAOptimizor(c=1.01), "'c'"),
    (lambda: MAOptimizor(c=float("nan")), "'c'"),
    (lambda: KLDOptimizor(bucket_bit=12.0), "'bucket_bit'(.|\n)*of type int"),
    (lambda: KLDOptimizor(bucket_bit=4), "'bucket_bit'"),
    (lambda: KLDOptimizor(bucket_bit=True), "'bucket_bit'"), (lambda: KLDOptimizor(bucket_bit=21), "'bucket_bit'"),
    (lambda: KLDOptimizor(bucket_bit=8, quant_bit=9), "'quant_bit'"),
    (lambda: KLDOptimizor(quant_bit=1), "'quant_bit'"),
    (lambda: KLDOptimizor(eps=0), "'eps'"), (lambda: KLDOptimizor(eps=1), "'eps'"),
    (lambda: PercentileOptimizor(percentile=50), "'percentile'"),
    (lambda: PercentileOptimizor(percentile=101), "'percentile'"),
    (lambda: OutlierRemovalOptimizor(multiple=0.5), "'multiple'"), (lambda: MSEOptimizor(quant_bit=1), "'quant_bit'"),
    (lambda: get_optimizor("Best"), "no optimizor is called 'Best'"), (lambda: get_optimizor(()), "is written"),
    (lambda: get_optimizor(None), "is written"), (lambda: get_optimizor(("MSE", "quant_bit")), "is written"),
    (lambda: get_optimizor(("MSE", 5, "quant_bit")), "is written"),
    (lambda: get_optimizor(("MovingAverage", "c", 0.1, "c", 0.2)), "is written"),
    (lambda: get_optimizor(("MSE", "bits", 8)), "no attribute 'bits'")])
def test_wrong_attributes(make, what):
    with pytest.raises(InvalidArgumentError, match=what):
        make()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_supported_is_refused(name):
    made = NAMES[name]()
    with pytest.raises(InvalidArgumentError, match="does not support"):
        made.make_observer("Uniform")
    with pytest.raises(InvalidArgumentError, match="does not support"):
        made.get_opt(MMLFeature([0], [1]), torch.ones(2))
    if name in ("MovingAverage", "KLDivergence"):
        with pytest.raises(InvalidArgumentError, match=f"'{name}' does not support the quantizer 'GroupConv'"):
            made.make_observer("GroupConv")
        with pytest.raises(InvalidArgumentError, match="does not support"):
            made.get_opt(ALFeature([1.0]), torch.ones(2))


def test_an_optimizor_of_the_user_is_asked_batch_by_batch():
    """Oracle: half of the largest magnitude of all batches."""
    batches = [images(3, seed=seed) * (seed + 1) for seed in (2, 0, 1)]
    half = Half()
    calibrator = Calibrator(prepared().module, observer=lambda node: half.make_observer("UniformSymmetric", node))
    calibrator.run(batches, torch.device("cpu"))
    plain = Calibrator(prepared().module)
    plain.run(batches, torch.device("cpu"))
    assert calibrator.thresholds() == {name: value / 2 for name, value in plain.thresholds().items()}
    name, observer = next(iter(calibrator.observers.items()))
    assert half.optimize(observer, "UniformSymmetric") == calibrator.features()[name]


def test_groups_of_an_optimizor_of_the_user():
    observer = observe(Half().make_observer("GroupConv"), [torch.tensor([[1.0, -2, 3, -4]])])
    assert Half().optimize(observer, "GroupConv") == ALFeature([0.5, 1, 1.5, 2])
    assert Half().optimize(observer, "GroupConv", 2) == ALFeature([1, 2])
    for groups in (0, 3):
        with pytest.raises(InvalidArgumentError, match="divide"):
            Half().optimize(observer, "GroupConv", groups)


def test_its_observer_keeps_the_protocol():
    first, second = (observe(OptimizorObserver(Half(), "UniformSymmetric"), [torch.tensor([value])])
                     for value in (2.0, 6.0))
    first(torch.tensor([100.0]))
    first.discard()
    assert first.feature() == AFeature(1)
    copy = OptimizorObserver(Half(), "UniformSymmetric")
    copy.load_state(first.state())
    first.merge(second)
    assert first.feature() == AFeature(3) and copy.feature() == AFeature(1)
    empty = OptimizorObserver(Half(), "UniformSymmetric")
    empty.merge(copy)
    assert statistics(empty) == statistics(copy)
    with pytest.raises(CalibrationError, match="saw nothing"):
        OptimizorObserver(Half(), "UniformSymmetric").feature()
    spoilt = OptimizorObserver(Half(), "UniformSymmetric")
    spoilt(torch.tensor([float("nan")]))
    assert not torch.isfinite(spoilt.pending)
    with pytest.raises(CalibrationError, match="returns a Feature"):
        observe(OptimizorObserver(Shapeless(), "UniformSymmetric"), [torch.ones(2)])


def test_the_base_names_what_a_class_lacks():
    class Nothing(Optimizor):
        name = "test_optimizor.Nothing"

    with pytest.raises(TypeError, match="Nothing does not define get_opt"):
        Nothing().get_opt(AFeature(1), torch.ones(1))
