"""The pipeline of configuration files: reading them, and the stages that they ask for. (MRT main2.)"""

from mrt_torch.pipeline.read_configuration import parse_overrides, read_configuration
from mrt_torch.pipeline.run_configuration import RunConfiguration, StartPoint

__all__ = ["RunConfiguration", "StartPoint", "parse_overrides", "read_configuration"]
