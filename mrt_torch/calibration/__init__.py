"""Calibration: observing activations, and the features that follow."""

from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.calibration.features import AFeature, ALFeature, Feature, MMFeature, get_feature, register_feature
from mrt_torch.calibration.insert_observers import insert_observers
from mrt_torch.calibration.observers import AbsmaxObserver, Observer

__all__ = ["AFeature", "ALFeature", "AbsmaxObserver", "Calibrator", "Feature", "MMFeature", "Observer",
           "get_feature", "insert_observers", "register_feature"]
