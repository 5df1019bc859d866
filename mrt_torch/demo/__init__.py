"""A small trained model with its images, and the main job on them: what ``mrt-torch demo`` runs.

The files are made by ``python -m bridges.mxnet.train_digits``; the images are from the Optical Recognition of
Handwritten Digits data set (UCI repository, CC BY 4.0).
"""

from mrt_torch.demo.digits import Digits, load_digits
from mrt_torch.demo.run import DemoReport, PathResult, run_demo

__all__ = ["DemoReport", "Digits", "PathResult", "load_digits", "run_demo"]
