"""The figures of an evaluation while it runs: behind the progress bar, and in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tqdm import tqdm

logger = logging.getLogger(__name__)

LOG_SECONDS = 10.0
BAR_SECONDS = 0.2
PATIENCE = 20  # times as long as the figures take to compute until they are computed again


class RunningFigures:
    """Shows figures from time to time, less often the longer it takes to compute them.

    Args:
        bar: shows them while it is not disabled; the log gets them at level INFO.
    """

    def __init__(self, bar: tqdm):
        self._bar = bar
        self._next_bar, self._next_line = 0.0, time.monotonic() + LOG_SECONDS

    def show(self, describe: Callable[[], str], examples: int) -> None:
        """Show what ``describe`` returns of that many examples, if it is time."""
        start = time.monotonic()
        on_bar = not self._bar.disable and start >= self._next_bar
        on_log = logger.isEnabledFor(logging.INFO) and start >= self._next_line
        if not on_bar and not on_log:
            return
        text = describe()
        end = time.monotonic()
        if on_bar:
            self._bar.set_postfix_str(text)
        if on_log:
            logger.info("%d examples: %s", examples, text)
            self._next_line = end + max(LOG_SECONDS, PATIENCE * (end - start))
        self._next_bar = end + max(BAR_SECONDS, PATIENCE * (end - start))
