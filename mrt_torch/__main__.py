"""``python -m mrt_torch``: the command ``mrt-torch``."""

from mrt_torch.cli import main

main()
