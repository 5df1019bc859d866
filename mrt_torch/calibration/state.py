"""The statistics of a calibration as bytes, and what they are of. No pickle; same statistics, same bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import torch

from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.calibration.observers import Observer
from mrt_torch.errors import InvalidArgumentError, InvalidFileError
from mrt_torch.graph.serialization import graph_nodes
from mrt_torch.serialized_value import SerializedValue

ENTRY = "mrt_torch"
OBSERVER, SAMPLE = "observer", "sample"
DIGEST_BYTES = 16
State = dict[str, torch.Tensor]


def state_of(calibrator: Calibrator) -> State:
    """All statistics, on the CPU: ``observer/<node>/<buffer>`` and ``sample/<tensor>``."""
    state = {f"{OBSERVER}/{name}/{key}": tensor for name, observer in calibrator.observers.items()
             for key, tensor in observer.state().items()}
    return state | {f"{SAMPLE}/{key}": tensor for key, tensor in calibrator.sample.state().items()}


def load_state(calibrator: Calibrator, state: Mapping[str, torch.Tensor]) -> None:
    """Replace all statistics by those of a calibrator of the same graph and settings; see ``state_of``.

    Raises:
        InvalidArgumentError: the state is of another graph or other settings; some of it may be held then.
    """
    observers, sample = _parts(calibrator, state)
    for name, observer in calibrator.observers.items():
        observer.load_state(observers[name])
    calibrator.sample.load_state(sample)


def merge_state(calibrator: Calibrator, state: Mapping[str, torch.Tensor]) -> None:
    """Count all that a calibrator of the same graph and settings had seen; see ``state_of``.

    Raises:
        InvalidArgumentError: the state is of another graph or other settings; some of it may count then.
    """
    observers, sample = _parts(calibrator, state)
    for name, observer in calibrator.observers.items():
        other = copy.deepcopy(observer)
        other.load_state(observers[name])
        observer.merge(other)
    other = calibrator.sample.copy()
    other.load_state(sample)
    calibrator.sample.merge(other)


def _parts(calibrator: Calibrator, state: Mapping[str, torch.Tensor]) -> tuple[dict[str, State], State]:
    """The states of the observers by node, and that of the sample."""
    observers: dict[str, State] = {name: {} for name in calibrator.observers}
    sample: State = {}
    for key, tensor in state.items():
        kind, *node, part = key.split("/")
        if kind == SAMPLE:
            sample[part] = tensor
        elif kind == OBSERVER and "".join(node) in observers:
            observers["".join(node)][part] = tensor
        else:
            raise InvalidArgumentError("the statistics are of another calibration", why=f"nothing takes '{key}'",
                                       remedy="use those of the same graph and settings")
    return observers, sample


def pack(state: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> bytes:
    """A state, a JSON object and a checksum of both as safetensors with one entry of text."""
    from safetensors.torch import save
    entry = json.dumps({"header": header, "checksum": _checksum(state, header)}, allow_nan=False)
    return save({name: tensor.contiguous() for name, tensor in state.items()}, metadata={ENTRY: entry})


def unpack(content: bytes, where: str) -> tuple[State, dict[str, Any]]:
    """The state and the JSON object that were packed; errors name ``where``.

    Raises:
        InvalidFileError: the bytes are truncated, changed, or something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load
    try:
        state = load(content)
        length = int.from_bytes(content[:8], "little")
        entry = json.loads(json.loads(content[8:8 + length])["__metadata__"][ENTRY])
        header = entry["header"]
        intact = isinstance(header, dict) and entry["checksum"] == _checksum(state, header)
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise InvalidFileError("the statistics of a calibration cannot be read", where=where,
                               why=f"{type(error).__name__}: {error}",
                               remedy="delete the file and calibrate again") from error
    if not intact:
        raise InvalidFileError("the statistics of a calibration were changed after they were written", where=where,
                               why="the checksum differs", remedy="delete the file and calibrate again")
    return state, header


def _checksum(state: Mapping[str, torch.Tensor], header: Mapping[str, Any]) -> str:
    return digest_of(state, json.dumps(header, sort_keys=True))


def digest_of(tensors: Mapping[str, torch.Tensor], text: str = "") -> str:
    """BLAKE2b, 128 bits, of a text and of tensors by name: their types, shapes and bytes."""
    digest = blake2b(text.encode(), digest_size=DIGEST_BYTES)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\0{name}\0{tensor.dtype}{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def model_digest(calibrator: Calibrator) -> str:
    """Digest of the network: its nodes with their arguments, input shapes and names, and its parameters."""
    nodes = [{key: value for key, value in entry.items() if key != "meta"}  # where the user's code stood
             for entry in graph_nodes(calibrator.module)]
    return digest_of(dict(calibrator.module.named_buffers()), json.dumps(nodes, sort_keys=True))


def configuration_of(calibrator: Calibrator) -> dict[str, str]:
    """What is observed: class and settings of each node's observer, and how many examples are sampled."""
    observers = {f"node '{name}'": _describe(observer) for name, observer in calibrator.observers.items()}
    return observers | {"the sample": f"{calibrator.sample.count} examples"}


def _describe(observer: Observer) -> str:
    """Class and settings: attributes that are numbers, texts, None or serializable. Statistics are in buffers."""
    settings = {name: value for name, value in sorted(vars(observer).items())
                if not name.startswith("_") and name != "training"
                and (value is None or isinstance(value, (bool, int, float, str, SerializedValue)))}
    arguments = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return f"{type(observer).__module__}.{type(observer).__qualname__}({arguments})"
