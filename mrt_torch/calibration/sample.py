"""A bounded sample of the calibration data that does not depend on the order or the split of the batches."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import torch

from mrt_torch.errors import CalibrationError, InvalidArgumentError

HASH_BYTES = 16


class Sample:
    """The ``count`` different examples whose bytes have the smallest BLAKE2b hashes.

    Args:
        count: most examples to keep; 0 keeps none.
    """

    def __init__(self, count: int = 64):
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise InvalidArgumentError("the number of examples is an int of at least 0", why=f"saw {count!r}",
                                       remedy="pass a number such as 64")
        self.count = count
        self._batch_axis = 0
        self._examples: dict[bytes, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self._examples)

    def add(self, batch: torch.Tensor, batch_axis: int = 0) -> None:
        """Consider every example of a batch, whose axis 0 or another counts them."""
        if not self.count or not batch.dim():
            return
        self._batch_axis = batch_axis
        for example in batch.detach().cpu().movedim(batch_axis, 0):
            example = torch.empty(example.shape, dtype=example.dtype).copy_(example)  # contiguous() keeps odd strides
            digest = blake2b(example.reshape(-1).view(torch.uint8).numpy(), digest_size=HASH_BYTES).digest()
            if digest not in self._examples and (len(self) < self.count or digest < max(self._examples)):
                self._keep({digest: example})

    def merge(self, other: Sample) -> None:
        """Consider all that another sample of the same data holds."""
        self._batch_axis = other._batch_axis if len(other) else self._batch_axis
        self._keep(other._examples)

    def tensor(self) -> torch.Tensor:
        """The examples by rising hash, joined on the batch axis.

        Raises:
            CalibrationError: there are none.
        """
        if not self._examples:
            raise CalibrationError("there is no sample of the calibration data",
                                   why="nothing was calibrated, or no example was to be kept",
                                   remedy="calibrate first")
        return torch.stack([self._examples[digest] for digest in sorted(self._examples)], self._batch_axis)

    def copy(self) -> Sample:
        """One that can change apart; examples are shared."""
        other = Sample(self.count)
        other.merge(self)
        return other

    def state(self) -> dict[str, torch.Tensor]:
        """``examples`` as in ``tensor`` and their ``batch_axis`` () int64; empty without examples."""
        if not self._examples:
            return {}
        return {"examples": self.tensor(), "batch_axis": torch.tensor(self._batch_axis)}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Hold what ``state`` returned, and nothing else."""
        self._examples = {}
        if state:
            self.add(state["examples"], int(state["batch_axis"]))

    def _keep(self, more: Mapping[bytes, torch.Tensor]) -> None:
        together = {**self._examples, **more}
        self._examples = {digest: together[digest] for digest in sorted(together)[:self.count]}
