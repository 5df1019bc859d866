"""Calibration: observing activations, and the features that follow."""

from mrt_torch.calibration.calibrate import Calibrator
from mrt_torch.calibration.extremes import ChannelAbsmaxObserver, ChannelMinMaxObserver, MinMaxObserver
from mrt_torch.calibration.features import (
    AFeature,
    ALFeature,
    Feature,
    MMFeature,
    MMLFeature,
    get_feature,
    register_feature,
)
from mrt_torch.calibration.histogram import Histogram
from mrt_torch.calibration.histogram_observer import HistogramObserver
from mrt_torch.calibration.insert_observers import insert_observers
from mrt_torch.calibration.moving_average import MovingAverageObserver
from mrt_torch.calibration.observers import AbsmaxObserver, Observer
from mrt_torch.calibration.optimizors import (
    HistogramOptimizor,
    HVOptimizor,
    KLDOptimizor,
    MAOptimizor,
    MSEOptimizor,
    Optimizor,
    OutlierRemovalOptimizor,
    PercentileOptimizor,
    get_optimizor,
    register_optimizor,
)
from mrt_torch.calibration.plan import default_observers
from mrt_torch.calibration.sample import Sample
from mrt_torch.calibration.squared_error import least_squared_error_ranges, squared_error_feature

__all__ = ["AFeature", "ALFeature", "AbsmaxObserver", "Calibrator", "ChannelAbsmaxObserver", "ChannelMinMaxObserver",
           "Feature", "HVOptimizor", "Histogram", "HistogramObserver", "HistogramOptimizor", "KLDOptimizor",
           "MAOptimizor", "MMFeature", "MMLFeature", "MSEOptimizor", "MinMaxObserver", "MovingAverageObserver",
           "Observer", "Optimizor", "OutlierRemovalOptimizor", "PercentileOptimizor", "Sample", "default_observers",
           "get_feature", "get_optimizor", "insert_observers", "least_squared_error_ranges", "register_feature",
           "register_optimizor", "squared_error_feature"]
