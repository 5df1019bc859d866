"""The CVM runtime as an executor of deployed models."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bridges.cvm.export import PARAMS_FILE, SYMBOL_FILE
from bridges.cvm.runtime import CvmRuntime
from mrt_torch.errors import InvalidArgumentError


@dataclass(frozen=True)
class CvmExecutor:
    """A back end of the runtime library that ``CVM_RUNTIME_LIBRARY`` names."""

    title: str
    device: str
    form: str = "cvm"

    def run(self, path: str | os.PathLike[str], integers: np.ndarray) -> list[np.ndarray]:
        """Outputs of the deployed model in the folder ``path``, computed in slices of its batch.

        Raises:
            MissingDependencyError: the library is not installed.
            InvalidArgumentError: the input is no multiple of the model's batch, or does not fit the model.
            RuntimeLibraryError: the runtime refused the model or an input.
        """
        runtime, folder = CvmRuntime(), Path(path)
        symbol, params = ((folder / name).read_bytes() for name in (SYMBOL_FILE, PARAMS_FILE))
        with runtime.load(symbol, params, self.device) as model:
            batch = model.input_shape[0]
            if len(integers) == 0 or len(integers) % batch:
                raise InvalidArgumentError("the input does not fit the model's batch", where=str(folder),
                                           why=f"{len(integers)} rows are no positive multiple of {batch}",
                                           remedy="give whole batches, or deploy the model with another batch")
            slices = [model.run(integers[start:start + batch]) for start in range(0, len(integers), batch)]
        return [np.concatenate(heads) for heads in zip(*slices, strict=True)]


cpu = CvmExecutor("CVM runtime, CPU", "cpu")
formal = CvmExecutor("CVM runtime, FORMAL", "formal")
