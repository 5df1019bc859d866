"""What the tests of observers share: feeding them, and comparing all they hold."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

FLOATS = st.floats(-2.0 ** 100, 2.0 ** 100, width=32)


def observe(observer, batches):
    """The observer after it saw and counted the batches."""
    for batch in batches:
        observer(batch)
        observer.commit()
    return observer


def statistics(observer) -> dict[str, bytes]:
    """Types, shapes and bytes of all that was counted; how many tensors it took depends on the partition."""
    return {name: (str(tensor.dtype), tuple(tensor.shape), tensor.numpy().tobytes())
            for name, tensor in observer.state().items() if name != "observations"}


@st.composite
def partitions(draw, channels: int = 3, floats=FLOATS):
    """A tensor (rows, channels, 2), and the same rows in another order, in batches."""
    rows = draw(st.integers(1, 6))
    values = draw(st.lists(floats, min_size=rows * channels * 2, max_size=rows * channels * 2))
    tensor = torch.tensor(values, dtype=torch.float32).reshape(rows, channels, 2)
    order = draw(st.permutations(range(rows)))
    cuts = sorted(draw(st.sets(st.integers(1, rows), max_size=rows)) | {rows})
    batches = [tensor[order[begin:end]] for begin, end in zip([0, *cuts], cuts, strict=False)]
    return tensor, batches
