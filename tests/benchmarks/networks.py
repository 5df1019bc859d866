"""The networks of the tables: how each is loaded, and on what it is measured."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from mrt_torch import Model
from tests.benchmarks import datasets

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "models"


@dataclass(frozen=True)
class Network:
    """A network by name.

    Attributes:
        load: the Model as loaded, not prepared.
        shape: input shape with batch 1.
        pictures: what it is calibrated and evaluated on. Of several outputs the last one gives the answer.
        symbol: stem of its MXNet files, where it came from such.
        module: the PyTorch module, where it came from one.
        heads: names of its outputs without a softmax at the end, where it has such.
    """

    name: str
    load: Callable[[], Model]
    shape: tuple[int, ...]
    pictures: Callable[[], datasets.Pictures]
    symbol: Callable[[], Path] | None = None
    module: Callable[[], nn.Module] | None = None
    heads: tuple[str, ...] = ()

    def load_logits(self) -> Model:
        """The Model as loaded, not prepared, up to its logits."""
        model = self.load()
        return model.split(self.heads or model.output_names(), self.shape)[0]


def _from_symbol(stem: Path) -> Model:
    return Model.load(f"{stem}-symbol.json", f"{stem}-0000.params")


def _architectures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architectures", MODELS / "architectures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _module(name: str) -> nn.Module:
    return _architectures().load(name)


def _from_torch(name: str, shape: tuple[int, ...]) -> Model:
    return Model.from_torch(_module(name), torch.zeros(2, *shape[1:]))


def _unequal_mobilenet() -> nn.Module:
    """The MobileNet with every other channel of each depthwise convolution times 100, which its successor undoes.

    LeakyReLU commutes with a positive factor, so the float network computes the same but for rounding.
    """
    module = _module(MOBILENET)
    with torch.no_grad():
        for block in (*module.stage1[1:], *module.stage2, *module.stage3):
            normalization, pointwise = block[1], block[3]
            normalization.weight[::2] *= UNEQUAL_FACTOR
            normalization.bias[::2] *= UNEQUAL_FACTOR
            pointwise.weight[:, ::2] /= UNEQUAL_FACTOR
    return module


def gluon_stem(name: str, size: int) -> Path:
    """Export a model-zoo network with seeded weights. BatchNorm keeps mean 0 and variance 1.

    MXNet changes them in its backward pass only; ``gluoncv_export.set_statistics`` computes them for the zoo's table.
    """
    from bridges.mxnet.installation import import_mxnet
    mx = import_mxnet()
    from mxnet.gluon.model_zoo import vision
    mx.random.seed(7)
    net = vision.get_model(name, pretrained=False)
    net.initialize(mx.init.Xavier(magnitude=2.24))

    def forget_history(block):
        if isinstance(block, mx.gluon.nn.BatchNorm):
            block._kwargs["momentum"] = 0
    net.apply(forget_history)
    net.hybridize()
    with mx.autograd.train_mode():
        net(mx.nd.random.normal(shape=(8, 3, size, size)))
    net(mx.nd.random.normal(shape=(1, 3, size, size)))
    stem = Path(tempfile.mkdtemp()) / name
    net.export(str(stem))
    return stem


def _shared(name: str, shape: tuple[int, ...], pictures: Callable[[], datasets.Pictures],
            heads: tuple[str, ...] = ()) -> Network:
    return Network(name, partial(_from_symbol, MODELS / name), shape, pictures, lambda: MODELS / name, heads=heads)


def _captured(name: str, shape: tuple[int, ...], pictures: Callable[[], datasets.Pictures],
              suffix: str = "") -> Network:
    return Network(name + suffix, partial(_from_torch, name, shape), shape, pictures, module=partial(_module, name))


def _gluon(name: str, size: int = 224) -> Network:
    stems: dict[str, Path] = {}

    def stem() -> Path:
        if name not in stems:
            stems[name] = gluon_stem(name, size)
        return stems[name]
    pictures = datasets.imagenet_unlabelled if size == 224 else partial(datasets.imagenet_enlarged, size)
    return Network(f"gluon {name}", lambda: _from_symbol(stem()), (1, 3, size, size), pictures, stem)


HALF = (0.5, 0.5, 0.5)
MOBILENET, UNEQUAL_FACTOR = "mobilenet_v1_025_imagenet", 100
LABELLED = [
    _shared("mnist_lenet", (1, 1, 28, 28), datasets.mnist),
    _shared("cifar_resnet8", (1, 3, 32, 32), datasets.cifar),
    _captured("resnet20_cifar10", (1, 3, 32, 32), datasets.cifar),
    _captured("resnet56_cifar10", (1, 3, 32, 32), datasets.cifar),
    _captured("cifarnet_nxp", (1, 3, 32, 32), partial(datasets.cifar, HALF, HALF)),
    _shared(MOBILENET, (1, 3, 224, 224), datasets.imagenet),
    _captured(MOBILENET, (1, 3, 224, 224), datasets.imagenet, " (PyTorch)"),
    _shared("mtcnn_det1", (1, 3, 12, 12), partial(datasets.faces, 12), ("conv4_2", "conv4_1")),
    _shared("mtcnn_det2", (1, 3, 24, 24), partial(datasets.faces, 24), ("conv5_2", "conv5_1")),
    _shared("mtcnn_det3", (1, 3, 48, 48), partial(datasets.faces, 48), ("conv6_3", "conv6_2", "conv6_1")),
]
UNLABELLED = [
    _shared("lffd_plate_small", (1, 3, 160, 160), partial(datasets.scenes, 160)),
    *(_gluon(name) for name in ("resnet18_v1", "mobilenet1.0", "mobilenetv2_1.0", "squeezenet1.1", "alexnet",
                                "vgg11_bn", "resnet50_v2", "densenet121")),
    _gluon("inceptionv3", 299),
]
UNEQUAL = Network(f"{MOBILENET} (unequal channels)",
                  lambda: Model.from_torch(_unequal_mobilenet(), torch.zeros(2, 3, 224, 224)), (1, 3, 224, 224),
                  datasets.imagenet, module=_unequal_mobilenet)
NETWORKS = LABELLED + UNLABELLED


def chosen(names: list[str], networks: Sequence[Network] = NETWORKS) -> list[Network]:
    """The networks whose name contains one of ``names``; all when none are given."""
    return [network for network in networks if not names or any(name in network.name for name in names)]
