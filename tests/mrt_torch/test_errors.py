"""Oracle: the four parts of a message as given."""

from __future__ import annotations

import pytest

from mrt_torch import errors
from mrt_torch.errors import InvalidArgumentError, MissingDependencyError, MRTError

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_ours_and_says_four_things(cls):
    error = cls("the model failed", where="node 'conv0'", why="saw 3", remedy="give 4")
    assert isinstance(error, MRTError)
    assert str(error) == "the model failed\n  where: node 'conv0'\n  why: saw 3\n  what to do: give 4"
    assert (error.what, error.where, error.why, error.remedy) == (
        "the model failed", "node 'conv0'", "saw 3", "give 4")


def test_parts_that_are_not_known_are_left_out():
    assert str(MRTError("it failed")) == "it failed"
    assert str(MRTError("it failed", remedy="stop")) == "it failed\n  what to do: stop"


def test_ordinary_handlers_catch_them_too():
    assert issubclass(InvalidArgumentError, ValueError) and issubclass(MissingDependencyError, ImportError)
