"""Oracle: the joins by hand."""

from __future__ import annotations

import pytest

from mrt_torch.calibration import AFeature, ALFeature, MMFeature, MMLFeature
from mrt_torch.calibration.feature_history import blended, widest
from mrt_torch.errors import InvalidArgumentError


@pytest.mark.parametrize("new,old,cover,blend", [
    (AFeature(1), AFeature(3), AFeature(3), AFeature(2.5)),
    (ALFeature([1, 8]), ALFeature([3, 4]), ALFeature([3, 8]), ALFeature([2.5, 5])),
    (MMFeature(-1, 4), MMFeature(-3, 0), MMFeature(-3, 4), MMFeature(-2.5, 1)),
    (MMLFeature([-1, 2], [4, 4]), MMLFeature([-3, 6], [0, 8]), MMLFeature([-3, 2], [4, 8]),
     MMLFeature([-2.5, 5], [1, 7]))])
def test_joins(new, old, cover, blend):
    assert widest(new, old) == widest(old, new) == cover
    assert blended(new, old, 0.25) == blend
    assert widest(new, None) is new and blended(new, None, 0.25) is new


@pytest.mark.parametrize("new,old", [(AFeature(1), MMFeature(0, 1)), (ALFeature([1]), AFeature(1)),
                                     (ALFeature([1]), ALFeature([1, 2])), (AFeature(1), 1.0)])
def test_other_kinds_are_refused(new, old):
    for join in (lambda: widest(new, old), lambda: blended(new, old, 0.5)):
        with pytest.raises(InvalidArgumentError, match="history"):
            join()
