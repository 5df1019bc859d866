"""What the calibrations of one MRT add up to. Oracles: one calibration on all data; numpy on activations; the words of
the documentation. Models count as the same where the bytes of their files are.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrt_torch import MRT, AFeature, Model
from mrt_torch.calibration import MinMaxObserver
from mrt_torch.calibration.features import MMFeature, MMLFeature
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from mrt_torch.quantization import QuantizationSettings
from mrt_torch.quantization.recipe import Recipe
from tests.mrt_torch.small_models import calibrated, images, prepared

DATA = [images(4, seed) * (1 + seed) for seed in range(4)]


def bytes_of(model: Model, folder) -> bytes:
    """Of the files of a model: graph, record and integers."""
    folder.mkdir(exist_ok=True)
    model.save(folder / "m.json", folder / "m.safetensors")
    return (folder / "m.json").read_bytes() + (folder / "m.safetensors").read_bytes()


def after(*calls) -> MRT:
    """An MRT calibrated once for each of ``calls``: data, or data and options."""
    mrt = prepared().get_mrt()
    for call in calls:
        data, options = call if isinstance(call, tuple) else (call, {})
        mrt.set_data(data)
        mrt.calibrate(**options)
    return mrt


def state(mrt: MRT) -> tuple:
    return mrt.features, mrt.operand_features, mrt._sample.tolist(), mrt.th_dict


def test_calls_add_up_in_any_order(tmp_path):
    """Features, operands, sample and integers are those of one call on everything."""
    whole = after(torch.cat(DATA))
    expected = bytes_of(whole.quantize(), tmp_path)
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        mrt = after(*(DATA[position] for position in order))
        assert state(mrt) == state(whole)
        assert bytes_of(mrt.quantize(), tmp_path) == expected
    assert state(after([DATA[2], DATA[0]], [DATA[3]], DATA[1])) == state(whole)


def test_the_order_of_rows_and_batches_does_not_matter_for_best_either(tmp_path):
    """Equalization, the choice of wide operands, the rounding of weights and bias correction look at the sample.

    (Batches of another size may change the last bit of a convolution in float32.)
    """
    results = []
    for order in (torch.arange(16), torch.arange(16).flip(0)):
        mrt = after(*torch.cat(DATA)[order].split(4))
        mrt.set_accuracy("best", 1.0)
        results.append(bytes_of(mrt.quantize(), tmp_path))
    assert results[0] == results[1]


def test_the_number_of_threads_does_not_matter(tmp_path):
    """On this network, whose sums are short."""
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            mrt = after(*DATA)
            mrt.set_accuracy("best")
            results.append((mrt.features, bytes_of(mrt.quantize(), tmp_path)))
    finally:
        torch.set_num_threads(threads)
    assert results[0] == results[1]


def test_features_are_extremes_and_thresholds_their_magnitudes():
    mrt = after(*DATA)
    data = torch.cat(DATA).numpy()
    feature = mrt.features["data"]
    assert np.allclose(feature.minima, data.min((0, 2, 3)), rtol=1e-7)
    assert np.allclose(feature.maxima, data.max((0, 2, 3)), rtol=1e-7)
    assert mrt.th_dict["data"] == pytest.approx(np.abs(data).max(), rel=1e-7)
    assert mrt.th_dict.keys() == {"data", "conv0", "relu0", "pool0", "conv1", "relu1", "features", "dense"}
    assert {name for name, _ in mrt.operand_features} == {"pool0", "features"}
    low, high = mrt.operand_features["pool0", 1].get_range()
    assert low == 0 and 0 < high <= mrt.th_dict["pool0"]


def test_lambd_gives_magnitudes():
    """abs(mean) + lambd * std where that is clearly below the largest magnitude; the largest of all batches."""
    mrt = after(*((batch, {"lambd": 1.5}) for batch in DATA))
    wanted = max(abs(batch.mean()) + 1.5 * batch.std(correction=0) for batch in (b.double() for b in DATA))
    assert mrt.features["data"] == AFeature(mrt.th_dict["data"])
    assert mrt.th_dict["data"] == pytest.approx(float(wanted), rel=1e-6)
    assert all(isinstance(feature, AFeature) for feature in mrt.features.values()) and not mrt.operand_features
    assert after(*((batch, {"lambd": 1e6}) for batch in DATA)).th_dict == after(*DATA).th_dict
    mrt.quantize()


def test_an_observer_of_the_built_ins():
    mrt = after(*((batch, {"observer": MinMaxObserver}) for batch in DATA))
    data = torch.cat(DATA)
    assert mrt.features["data"] == MMFeature(float(data.min()), float(data.max()))
    with pytest.raises(InvalidArgumentError, match="lambd"):
        mrt.calibrate(lambd=1.0, observer=MinMaxObserver)


@pytest.mark.parametrize("options", [[{}, {}, {"lambd": 1.0}], [{}, {"lambd": 1.0}, {"lambd": 1.0}],
                                     [{"observer": MinMaxObserver}, {}, {}],
                                     [{"lambd": 2.0}, {"observer": MinMaxObserver}, {}]])
def test_other_settings_in_between_forget_nothing(options):
    """Thresholds add up by maximum, whatever measured them; the sample is that of all data."""
    mrt = after(*zip(DATA, options, strict=False))
    alone = [after((data, option)).th_dict for data, option in zip(DATA, options, strict=False)]
    assert mrt.th_dict == {name: max(each[name] for each in alone) for name in alone[0]}
    assert torch.equal(mrt._sample, after(*DATA[:3])._sample)


def test_a_loaded_state_counts_on(tmp_path):
    """Also after two more calls, the second of which joins the observers of the first."""
    first = after(DATA[3])
    first.save("net", tmp_path)
    again = MRT.load("net", tmp_path)
    for data in DATA[:3]:
        again.set_data(data)
        again.calibrate()
    whole = after(*DATA)
    assert again.th_dict == whole.th_dict and again.features == whole.features
    assert torch.equal(again._sample, whole._sample)


def test_old_thresholds_count_in_all_calls_after():
    mrt = after((DATA[0], {"old_ths": {"relu0": 1e3, "data": 0.5, "nobody": 3.0}}), DATA[1])
    plain = after(DATA[0], DATA[1])
    assert mrt.th_dict == {**plain.th_dict, "relu0": 1e3}
    assert mrt.features["data"] == plain.features["data"]
    spread, known = mrt.features["relu0"], plain.features["relu0"]
    factor = 1e3 / plain.th_dict["relu0"]
    assert np.allclose(spread.maxima, np.array(known.maxima) * factor) and min(spread.minima) == 0


def test_old_thresholds_may_be_those_of_parameters():
    mrt = after((DATA[0], {"old_ths": {"conv0_weight": 0.25}}))
    assert mrt.features["conv0_weight"] == AFeature(0.25)


def test_a_threshold_cuts_or_spreads_what_was_met():
    """Of every channel, and of the range that an operand keeps."""
    mrt, known = after(*DATA), after(*DATA)
    mrt.set_threshold("pool0", 1.0)
    assert mrt.features["pool0"] == MMLFeature(*np.clip(known.features["pool0"].get_channel_ranges(), -1, 1).tolist())
    assert mrt.operand_features["pool0", 1] == MMFeature(0.0, 1.0)
    top = known.th_dict["pool0"]
    mrt.set_threshold("pool0", 1.0)
    known.set_threshold("pool0", 3 * top)
    assert known.th_dict["pool0"] == 3 * top and known.operand_features["pool0", 1] == MMFeature(0.0, 3 * top)


def test_a_smaller_threshold_saturates_a_larger_one_loses_bits():
    """Oracle: the float model, with the activation clamped. A spread ends at what is proven, a few times the data."""
    data = torch.cat(DATA)
    plain, cut, spread = after(data), after(data), after(data)
    cut.settings = QuantizationSettings(recipe=Recipe(bias_correction=False))  # which would make up for the mean
    limit = cut.th_dict["pool0"] / 4
    cut.set_threshold("pool0", limit)
    spread.set_threshold("pool0", spread.th_dict["pool0"] * 32)

    class Clamped(torch.fx.Interpreter):
        def run_node(self, n):
            value = super().run_node(n)
            return value.clamp(-limit, limit) if n.name == "pool0" else value
    with torch.no_grad():
        (clamped,) = Clamped(cut.model.module).run(data)
    exact = plain.model(data)

    def error(seen, reference):
        return float((seen - reference).norm() / reference.norm())
    assert error(cut.quantize()(data), clamped) < 0.08 < error(clamped, exact)
    assert error(spread.quantize()(data), exact) > 1.5 * error(plain.quantize()(data), exact)


def test_the_whole_th_dict_is_replaced():
    mrt = after(*DATA)
    known = after(*DATA)
    mrt.set_th_dict({name: threshold / 2 for name, threshold in known.th_dict.items()})
    assert mrt.th_dict == {name: threshold / 2 for name, threshold in known.th_dict.items()}
    mrt.quantize()
    mrt.set_th_dict({"data": 1.0, "conv0_weight": 0.5})
    assert mrt.th_dict == {"data": 1.0, "conv0_weight": 0.5} and not mrt.operand_features
    with pytest.raises(CalibrationError, match="no threshold"):
        mrt.quantize()
    for wrong in ({"data": "x"}, {"data": None}, {"nobody": 1.0}):
        with pytest.raises(InvalidArgumentError):
            mrt.set_th_dict(wrong)
    assert mrt.th_dict == {"data": 1.0, "conv0_weight": 0.5}


def test_thresholds_alone_are_enough():
    """As a session of the original hands them on; magnitudes, so there are no zero points."""
    known = after(*DATA)
    mrt = prepared().get_mrt()
    mrt.set_th_dict(known.th_dict)
    seen, exact = mrt.quantize()(DATA[3]), mrt.model(DATA[3])
    assert float((seen - exact).norm() / exact.norm()) < 0.05


def test_a_failing_calibration_keeps_what_was_known():
    mrt = after(*DATA)
    before = state(mrt)
    for wrong in ([DATA[0], DATA[1] * float("nan")], torch.zeros(2, 3, 5, 5), [], torch.zeros(0, 3, 6, 6), 5):
        mrt.set_data(wrong)
        with pytest.raises(CalibrationError):
            mrt.calibrate()
        assert state(mrt) == before
    mrt.set_data(DATA[0])
    for options in ({"ctx": "quantum"}, {"lambd": -1.0}, {"observer": torch.nn.Identity}, {"old_ths": {"data": -1.0}}):
        with pytest.raises(InvalidArgumentError):
            mrt.calibrate(**options)
        assert state(mrt) == before
    mrt.calibrate()
    assert state(mrt) == before


@pytest.mark.parametrize("data", [torch.zeros(4, 3, 6, 6), torch.full((4, 3, 6, 6), 0.7), torch.ones(1, 3, 6, 6) * -2])
@pytest.mark.parametrize("accuracy", ["default", "best", "original"])
def test_all_zero_and_constant_data(data, accuracy):
    """A zero tensor has the scale 1; a constant one is 8 bits of itself. Nothing fails, and the outputs are right."""
    mrt = after(data)
    mrt.set_accuracy(accuracy)
    quantized = mrt.quantize()
    exact = mrt.model(data)
    assert float((quantized(data) - exact).norm()) <= 0.03 * float(exact.norm())
    if not data.any():
        assert mrt.get_inputs_ext()["data"]["scale"] == 1.0


def test_examples_beyond_64_are_not_kept():
    """Those with the smallest hashes; features are of all data."""
    data = images(100)
    mrt = after(data)
    assert len(mrt._sample) == 64 and mrt.th_dict["data"] == float(data.abs().max())
    assert state(after(data[70:], data[:70])) == state(mrt)
    assert calibrated()._sample.shape == (8, 3, 6, 6)
