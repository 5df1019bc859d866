"""As for the operators: tensors are tiny, so one thread is fastest."""

from tests.mrt_torch.ops.conftest import one_thread  # noqa: F401  a fixture
