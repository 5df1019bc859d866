"""Oracle: the prepared graph run by fx.Interpreter, and the largest magnitude of each value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mrt_torch import MRT
from mrt_torch.calibration import (
    AbsmaxObserver,
    Calibrator,
    HistogramObserver,
    MinMaxObserver,
    MMFeature,
    MMLFeature,
    squared_error_feature,
)
from mrt_torch.errors import CalibrationError, InvalidArgumentError
from mrt_torch.graph.editor import GraphEditor, empty_graph_module
from mrt_torch.graph.stage import Stage
from mrt_torch.model import Model
from tests.mrt_torch.small_models import IMAGE, images, prepared

BATCHES = list(images(12, seed=7).split(3))


class Recorder(fx.Interpreter):
    """Runs a graph node by node and keeps the largest magnitude of every activation."""

    def __init__(self, module):
        super().__init__(module)
        self.largest: dict[str, float] = {}
        self.seen: dict[str, list[torch.Tensor]] = {}

    def run_node(self, node):
        value = super().run_node(node)
        if node.op in ("placeholder", "call_function"):
            self.seen.setdefault(node.name, []).append(value)
            self.largest[node.name] = max(float(value.abs().max()), self.largest.get(node.name, 0.0))
        return value


def oracle(model: Model, batches) -> dict[str, float]:
    recorder = Recorder(model.module)
    for batch in batches:
        recorder.run(batch)
    return recorder.largest


def mrt_with(data) -> MRT:
    mrt = prepared().get_mrt()
    mrt.set_data(data)
    return mrt


class Stream(IterableDataset):
    """Batches without a length."""

    def __iter__(self):
        return iter(BATCHES)


def read_only(batch: torch.Tensor) -> np.ndarray:
    array = batch.numpy().copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("data", [
    BATCHES, tuple(BATCHES), [b.numpy() for b in BATCHES], [read_only(b) for b in BATCHES],
    [b.double() for b in BATCHES], DataLoader(torch.cat(BATCHES), batch_size=3),
    DataLoader(TensorDataset(torch.cat(BATCHES), torch.arange(12)), batch_size=3),
    DataLoader(Stream(), batch_size=None), [(b, 0) for b in BATCHES], [[b, torch.zeros(3)] for b in BATCHES],
], ids=["list", "tuple", "numpy", "read-only numpy", "float64", "loader", "loader of pairs", "loader without length",
        "pairs", "lists"])
def test_every_form_of_data(data):
    mrt = mrt_with(data)
    assert mrt.calibrate() == oracle(mrt.model, BATCHES)


@pytest.mark.parametrize("data", [images(4), images(4).numpy(), read_only(images(4))],
                         ids=["torch", "numpy", "read-only numpy"])
def test_one_array_is_one_batch(data):
    mrt = mrt_with(data)
    assert mrt.calibrate() == oracle(mrt.model, [images(4)])


def test_a_generator_is_read_once_and_the_error_says_so():
    mrt = mrt_with(batch for batch in BATCHES)
    first = dict(mrt.calibrate())
    assert first == oracle(mrt.model, BATCHES)
    with pytest.raises(CalibrationError, match="used up.*\n.*not a generator"):
        mrt.calibrate()
    assert mrt.th_dict == first


def test_images_of_8_bits_are_data():
    pixels = torch.randint(0, 256, (4, *IMAGE[1:]), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mrt = mrt_with(pixels)
    assert mrt.calibrate() == oracle(mrt.model, [pixels.float()])


def test_an_array_of_mxnet_is_data(mxnet):
    mrt = mrt_with([mxnet.nd.array(batch.numpy()) for batch in BATCHES])
    assert mrt.calibrate() == oracle(mrt.model, BATCHES)


@settings(deadline=None, max_examples=10)
@given(st.permutations(BATCHES), st.integers(1, 3), st.sampled_from([None, 2.0]))
def test_batches_and_calls_accumulate_in_any_order(batches, cut, lambd):
    """MRT defect 4: calibrating in a loop kept the last batch only."""
    together, apart = mrt_with(BATCHES), mrt_with(None)
    together.calibrate(lambd=lambd)
    for part in (batches[:cut], batches[cut:]):
        apart.set_data(part)
        apart.calibrate(lambd=lambd)
    assert apart.th_dict == together.th_dict


def test_calls_with_other_lambd_accumulate_by_maximum():
    thresholds = []
    for lambd in (0.5, None):
        mrt = mrt_with(BATCHES)
        thresholds.append(dict(mrt.calibrate(lambd=lambd)))
    both = mrt_with(BATCHES)
    both.calibrate(lambd=None)
    both.calibrate(lambd=0.5)
    assert both.th_dict == thresholds[1]
    assert any(thresholds[0][name] < thresholds[1][name] for name in both.th_dict)


def test_old_thresholds_count_by_maximum_and_other_names_do_not():
    mrt = mrt_with(BATCHES)
    plain = dict(mrt.calibrate())
    seen = mrt.calibrate(old_ths={"relu0": 100.0, "relu1": 1e-3, "nobody": 7.0, "conv0_weight": 2.5})
    assert seen == plain | {"relu0": 100.0, "conv0_weight": 2.5}


@pytest.mark.parametrize("value", [float("nan"), -1.0, "much", None])
def test_old_thresholds_are_checked_and_nothing_is_kept(value):
    mrt = mrt_with(BATCHES)
    with pytest.raises(InvalidArgumentError):
        mrt.calibrate(old_ths={"relu0": value})
    assert mrt.th_dict == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("lambd", [None, 2.0])
def test_data_that_is_not_finite(bad, lambd):
    spoilt = BATCHES[2].clone()
    spoilt[1, 0, 2, 3] = bad
    mrt = mrt_with(BATCHES)
    before = dict(mrt.calibrate(lambd=lambd))
    mrt.set_data([BATCHES[0] * 9, BATCHES[1], spoilt])
    with pytest.raises(CalibrationError, match="where: the data itself, batch 2") as caught:
        mrt.calibrate(lambd=lambd)
    assert caught.value.why and caught.value.remedy
    assert mrt.th_dict == before


def exploding() -> Model:
    """exp, whose float32 overflows at 89, then relu."""
    editor = GraphEditor(empty_graph_module())
    x = editor.input("data", (1, 4))
    x = editor.call(torch.ops.aten.exp.default, x, name="growth")
    editor.output([editor.call(torch.ops.aten.relu.default, x, name="last")])
    editor.module.recompile()
    return Model(editor.module, Stage.FLOAT, prepared=True)


def test_an_activation_that_is_not_finite_is_named_first_and_nothing_is_kept():
    calibrator = Calibrator(exploding().module)
    calibrator.run([torch.ones(1, 4)], torch.device("cpu"))
    before, growth = calibrator.thresholds(), float(torch.ones(1).exp())
    with pytest.raises(CalibrationError, match="node 'growth'.*batch 1"):
        calibrator.run([torch.full((1, 4), 3.0), torch.full((1, 4), 100.0)], torch.device("cpu"))
    assert calibrator.thresholds() == before == {"data": 1.0, "growth": growth, "last": growth}
    calibrator.run([torch.full((1, 4), 2.0)], torch.device("cpu"))
    assert calibrator.thresholds()["data"] == 2.0


@pytest.mark.parametrize("shape", [(3, 6, 6), (2, 3, 6, 7), (2, 1, 6, 6), (0, 3, 6, 6), (2, 3, 36), ()])
def test_wrong_shapes_and_empty_batches(shape):
    mrt = mrt_with([BATCHES[0], torch.zeros(shape)])
    with pytest.raises(CalibrationError, match=r"expected \(N, 3, 6, 6\)"):
        mrt.calibrate()
    assert mrt.th_dict == {}


@pytest.mark.parametrize("data", [None, [], 5, ["picture"], [{"image": 1}], [()], [None], {"image": BATCHES[0]},
                                  np.array(["text"]), np.array([object()])],
                         ids=repr)
def test_what_is_no_data(data):
    mrt = mrt_with(data)
    with pytest.raises(CalibrationError) as caught:
        mrt.calibrate()
    assert caught.value.remedy
    assert mrt.th_dict == {}


def test_an_error_inside_the_users_loader_passes_and_nothing_is_kept():
    def loader():
        yield BATCHES[0]
        raise ZeroDivisionError("mine")
    mrt = mrt_with(loader())
    with pytest.raises(ZeroDivisionError, match="mine"):
        mrt.calibrate()
    assert mrt.th_dict == {}


@pytest.mark.parametrize("ctx", ["gpu", "cuda:99", "", None, 1.5])
def test_an_unknown_device(ctx):
    with pytest.raises(InvalidArgumentError, match="no device"):
        mrt_with(BATCHES).calibrate(ctx=ctx)


@pytest.mark.parametrize("lambd", [-1.0, float("nan"), float("inf")])
def test_lambd_is_checked(lambd):
    with pytest.raises(InvalidArgumentError, match="lambd"):
        mrt_with(BATCHES).calibrate(lambd=lambd)


def test_the_prepared_graph_and_its_weights_stay_as_they_were():
    mrt = mrt_with(BATCHES)
    module = mrt.model.module
    code, buffers = module.code, {name: buffer.clone() for name, buffer in module.named_buffers()}
    batch = BATCHES[0].clone()
    mrt.calibrate(lambd=2.0)
    assert mrt.model.module is module and module.code == code
    assert {name for name, _ in module.named_buffers()} == set(buffers)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in module.named_buffers())
    assert not list(module.children())
    assert torch.equal(batch, BATCHES[0])


def test_the_bar_is_quiet_away_from_a_terminal(capfd):
    mrt = mrt_with(BATCHES)
    mrt.calibrate()
    assert capfd.readouterr() == ("", "")
    mrt.calibrate(progress=True)
    assert "calibrate" in capfd.readouterr().err


def test_gradients_are_not_recorded():
    batch = images(2).requires_grad_()
    calibrator = Calibrator(prepared().module)
    calibrator.run([batch], torch.device("cpu"))
    assert not any(buffer.requires_grad for observer in calibrator.observers.values() for buffer in observer.buffers())


def calibrated(module, batches, **kwargs) -> Calibrator:
    calibrator = Calibrator(module, **kwargs)
    calibrator.run(batches, torch.device("cpu"))
    return calibrator


def test_features_are_the_extremes_of_every_channel():
    model = prepared(heads=2)
    recorder = Recorder(model.module)
    for batch in BATCHES:
        recorder.run(batch)
    features = calibrated(model.module, BATCHES).features()
    assert list(features) == list(recorder.seen)
    for name, values in recorder.seen.items():
        channels = torch.cat(values).movedim(1, 0).flatten(1)
        assert features[name] == MMLFeature(channels.amin(1).tolist(), channels.amax(1).tolist())
    assert calibrated(model.module, BATCHES, lambd=2.0).features()["relu0"].name == "Absmax"


def test_ranges_of_operands():
    """Oracle: the search over the histogram of all values at once. A grouped reader has a range for each group."""
    module = grouped_and_not().module
    recorder = Recorder(module)
    for batch in BATCHES:
        recorder.run(batch)
    seen = calibrated(module, BATCHES).operand_features()
    assert set(seen) == {("relu", 1), ("relu", 3), ("dense_input", 1)}
    for (name, groups), feature in seen.items():
        observer = HistogramObserver(signed=False, by_channel=name == "relu")
        observer(torch.cat(recorder.seen[name]))
        observer.commit()
        assert feature == squared_error_feature(observer, groups)
        assert isinstance(feature, MMFeature if groups == 1 else MMLFeature)
    assert len(seen["relu", 3].minima) == 3
    assert calibrated(module, BATCHES, lambd=2.0).operand_features() == {}
    assert calibrated(module, BATCHES, observer=MinMaxObserver).operand_features() == {}


def grouped_and_not() -> Model:
    """relu read by a grouped and by a plain convolution, and a dense layer behind them."""
    editor = GraphEditor(empty_graph_module())
    aten = torch.ops.aten
    weight = torch.randn(6, 3, 1, 1, generator=torch.Generator().manual_seed(1))
    x = editor.call(aten.conv2d.default, editor.input("image", IMAGE), editor.constant("w0", weight), None,
                    [1, 1], [0, 0], [1, 1], 1, name="first")
    x = editor.call(aten.relu.default, x, name="relu")
    grouped = editor.call(aten.conv2d.default, x, editor.constant("w1", weight[:, :2]), None, [1, 1], [0, 0], [1, 1], 3,
                          name="grouped")
    plain = editor.call(aten.conv2d.default, x, editor.constant("w2", weight.repeat(1, 2, 1, 1)), None, [1, 1], [0, 0],
                        [1, 1], 1, name="plain")
    x = editor.call(aten.relu.default, editor.call(aten.add.Tensor, grouped, plain, name="total"), name="after")
    x = editor.call(aten.mean.dim, x, [2, 3], False, name="dense_input")
    editor.output([editor.call(aten.linear.default, x, editor.constant("w3", torch.ones(2, 6)), name="dense")])
    editor.module.recompile()
    return Model(editor.module, Stage.FLOAT, prepared=True)


@settings(deadline=None, max_examples=10)
@given(st.permutations(range(12)), st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_features_and_sample_do_not_depend_on_order_and_partition(order, sizes):
    module, rows = grouped_and_not().module, torch.cat(BATCHES)
    whole = calibrated(module, [rows[index:index + 1] for index in range(12)])
    shuffled, batches = rows[list(order)], []
    while len(shuffled):
        size = sizes[len(batches) % len(sizes)]
        batches.append(shuffled[:size])
        shuffled = shuffled[size:]
    parts = calibrated(module, [row for batch in batches for row in batch.split(1)])  # sums depend on the batch's size
    assert parts.features() == whole.features() and parts.operand_features() == whole.operand_features()
    assert torch.equal(calibrated(module, batches).sample.tensor(), whole.sample.tensor())
    assert torch.equal(whole.sample.tensor(), parts.sample.tensor()) and len(whole.sample) == 12


def test_nothing_of_a_failing_run_is_kept():
    calibrator = calibrated(grouped_and_not().module, BATCHES[:2])
    before = calibrator.features(), calibrator.operand_features(), calibrator.sample.tensor()
    with pytest.raises(CalibrationError, match="not finite"):
        calibrator.run([BATCHES[2] * 50, BATCHES[3] * float("inf")], torch.device("cpu"))
    after = calibrator.features(), calibrator.operand_features(), calibrator.sample.tensor()
    assert after[:2] == before[:2] and torch.equal(after[2], before[2])
    calibrator.run(BATCHES[2:], torch.device("cpu"))
    assert calibrator.features() == calibrated(calibrator.module, BATCHES).features()


def test_without_a_run_there_are_no_features():
    calibrator = Calibrator(grouped_and_not().module)
    for ask in (calibrator.features, calibrator.operand_features, calibrator.thresholds):
        with pytest.raises(CalibrationError, match="saw nothing(.|\n)*node '"):
            ask()


def test_an_observer_for_each_node():
    chosen = calibrated(grouped_and_not().module, BATCHES, observer=lambda node: AbsmaxObserver() if node.name == "relu"
                        else MinMaxObserver())
    assert {name: feature.name for name, feature in chosen.features().items() if name in ("relu", "plain")} == {
        "relu": "Absmax", "plain": "MinMax"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_calibration_on_a_gpu_leaves_the_model_on_the_cpu():
    """float32 sums on the two devices differ by rounding: 1e-5 relative."""
    on_cpu, on_gpu = mrt_with(BATCHES), mrt_with(BATCHES)
    on_cpu.calibrate(), on_gpu.calibrate(ctx="cuda")
    assert on_gpu.th_dict == pytest.approx(on_cpu.th_dict, rel=1e-5)
    assert {buffer.device.type for buffer in on_gpu.model.module.buffers()} == {"cpu"}
