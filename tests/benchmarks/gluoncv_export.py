"""Writes a network of gluon's or gluoncv's model zoo as files: ``python gluoncv_export.py ZOO NAME SIZE STEM``.

It runs in a process of its own: gluoncv refuses to be imported where it finds PyTorch 2, so PyTorch is hidden from it.
Weights are seeded (nothing is downloaded), and the statistics of BatchNorm are those of one seeded batch. Beside
``STEM-symbol.json`` and ``STEM-0000.params`` there is ``STEM-outputs.npz``: an input ``data``, and what MXNet makes of
it as ``output0`` and so on.
"""

from __future__ import annotations

import importlib.abc
import json
import os
import sys

import numpy as np

MISSING = 3  # exit status where the zoo is not installed
SEED, BATCH = 7, 6


class HiddenPyTorch(importlib.abc.MetaPathFinder):
    """Makes PyTorch look as if it were not installed."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return None


def pictures(count: int, size: int, seed: int) -> np.ndarray:
    """Seeded pictures (count, 3, size, size) float32, of variance 1: noise of five scales, from one colour to pixels.

    White noise would not do: pictures of it have all the same means, and a BatchNorm after global pooling divides by
    what little they differ.
    """
    random, total = np.random.default_rng(seed), np.zeros((count, 3, size, size))
    extents = (1, 3, 8, 32, size)
    for extent in extents:
        positions = np.arange(size) * extent // size
        noise = random.standard_normal((count, 3, extent, extent))
        total += noise[:, :, positions[:, None], positions] / len(extents) ** 0.5
    return total.astype(np.float32)


def import_zoo(zoo: str):
    """MXNet and ``get_model`` of the zoo ``gluon`` or ``gluoncv``; neither may use what NumPy 1.24 removed."""
    for name, builtin in (("bool", bool), ("int", int), ("float", float), ("object", object), ("str", str)):
        if name not in vars(np):
            setattr(np, name, builtin)
    sys.meta_path.insert(0, HiddenPyTorch())
    os.environ.update(MXNET_MKLDNN_ENABLED="0", MXNET_STORAGE_FALLBACK_LOG_VERBOSE="0")
    import mxnet
    if zoo == "gluon":
        from mxnet.gluon.model_zoo.vision import get_model
    else:
        from gluoncv.model_zoo import get_model
    return mxnet, get_model


def make_network(mx, get_model, name: str):
    """A network with seeded weights."""
    mx.random.seed(SEED)
    np.random.seed(SEED)
    detects = name.startswith(("ssd", "yolo"))
    net = get_model(name, pretrained=False, **({"pretrained_base": False} if detects else {}))

    class Weights(mx.init.Xavier):
        """Xavier's; a factor of one axis, which gluoncv makes of a symbol without saying what it is, is 1."""

        def _init_weight(self, desc, array):
            if len(array.shape) < 2:
                array[:] = float(str(desc).endswith("gamma"))
            else:
                super()._init_weight(desc, array)
    net.initialize(Weights(magnitude=2.24))
    net.hybridize()
    return net


def set_statistics(mx, symbol, arguments: dict, auxiliary: dict, data) -> None:
    """Mean and variance of every BatchNorm become those of its input for ``data``, in training mode; its shift is 1.

    MXNet's own training would change them in its backward pass only, and by a tenth. Without a shift, random weights
    under ReLU and BatchNorm multiply the energy of any noise by pi / (pi - 1) = 1.47 in every layer, whatever it is due
    to: after thirty layers the float network itself would not recognise its input. With the shift 1 it is 1.12.
    """
    nodes = json.loads(symbol.tojson())["nodes"]
    internals, layers, inputs = symbol.get_internals(), [], []
    for node in nodes:
        if node["op"] == "BatchNorm":
            source = nodes[node["inputs"][0][0]]
            names = [nodes[index]["name"] for index, *_ in node["inputs"]]
            arguments[names[2]][:] = 1
            layers.append(names[3:])
            inputs.append(internals[source["name"] if source["op"] == "null" else source["name"] + "_output"])
    if not layers:
        return
    executor = mx.sym.Group(inputs).bind(mx.cpu(), {**arguments, "data": data}, aux_states=auxiliary, grad_req="null")
    for names, values in zip(layers, executor.forward(is_train=True)):
        axes = (0, *range(2, values.ndim))
        for name, statistics in zip(names, (np.mean, np.var)):
            auxiliary[name][:] = mx.nd.array(statistics(values.asnumpy(), axes))


def scale_predictors(mx, symbol, arguments: dict, auxiliary: dict, data) -> None:
    """What a detector predicts for ``data`` gets the deviation 1: larger scores would round to 1 and be all alike."""
    internals, weights = symbol.get_internals(), []
    for node in json.loads(symbol.tojson())["nodes"]:
        if node["op"] == "Convolution" and ("convpredictor" in node["name"] or "yolooutput" in node["name"]):
            weights.append((internals[node["name"] + "_output"], node["name"].removesuffix("fwd") + "weight"))
    if not weights:
        return
    executor = mx.sym.Group([output for output, _ in weights]).bind(
        mx.cpu(), {**arguments, "data": data}, aux_states=auxiliary, grad_req="null")
    for (_, name), output in zip(weights, executor.forward(is_train=False)):
        arguments[name][:] /= float(output.asnumpy().std())


def main(zoo: str, name: str, size: str, stem: str) -> int:
    try:
        mx, get_model = import_zoo(zoo)
    except ImportError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return MISSING
    net = make_network(mx, get_model, name)
    data = pictures(1, int(size), SEED)
    net(mx.nd.array(data))
    net.export(stem)
    symbol, arguments, auxiliary = mx.model.load_checkpoint(stem, 0)
    batch = mx.nd.array(pictures(BATCH, int(size), SEED + 1))
    set_statistics(mx, symbol, arguments, auxiliary, batch)
    scale_predictors(mx, symbol, arguments, auxiliary, batch)
    mx.model.save_checkpoint(stem, 0, symbol, arguments, auxiliary)
    executor = symbol.bind(mx.cpu(), {**arguments, "data": mx.nd.array(data)}, aux_states=auxiliary, grad_req="null")
    outputs = executor.forward(is_train=False)
    np.savez(f"{stem}-outputs.npz", data=data, **{f"output{i}": output.asnumpy() for i, output in enumerate(outputs)})
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
