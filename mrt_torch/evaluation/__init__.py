"""Float and integer models over a data set, side by side."""

from mrt_torch.evaluation.report import EvaluationReport, ModelFigures
from mrt_torch.evaluation.run import evaluate
from mrt_torch.evaluation.validate import eval_time_accuracy, multi_eval_accuracy, multi_validate

__all__ = ["EvaluationReport", "ModelFigures", "eval_time_accuracy", "evaluate", "multi_eval_accuracy",
           "multi_validate"]
