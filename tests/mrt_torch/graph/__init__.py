import pytest

pytest.register_assert_rewrite("tests.mrt_torch.graph.captured")
