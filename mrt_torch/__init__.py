"""Post-training quantization to integers only, with the same bits on every machine."""

from mrt_torch.calibration.features import AFeature, ALFeature, Feature, MMFeature, MMLFeature
from mrt_torch.calibration.optimizors import HVOptimizor, KLDOptimizor, MAOptimizor, Optimizor
from mrt_torch.deployment import reduce_graph
from mrt_torch.evaluation import EvaluationReport, evaluate, multi_validate
from mrt_torch.extension_file import load_ext, save_ext
from mrt_torch.merger import ModelMerger
from mrt_torch.model import Model
from mrt_torch.mrt import MRT
from mrt_torch.quantization.buffers import Buffer, SBuffer, SLBuffer, SZBuffer
from mrt_torch.quantization.quantizers import Quantizer, UAQuantizer, USQuantizer
from mrt_torch.simulation import load_real_data, load_sim_data

__all__ = [
    "MRT", "AFeature", "ALFeature", "Buffer", "EvaluationReport", "Feature", "HVOptimizor", "KLDOptimizor",
    "MAOptimizor", "MMFeature", "MMLFeature", "Model", "ModelMerger", "Optimizor", "Quantizer", "SBuffer", "SLBuffer",
    "SZBuffer", "UAQuantizer", "USQuantizer", "evaluate", "load_ext", "load_real_data", "load_sim_data",
    "multi_validate", "reduce_graph", "save_ext",
]
