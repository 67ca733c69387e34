"""Run simulations in parallel, in threads: the engine runs without Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with (done, of how many). An exception from it ends the work."""


def in_threads(
    work: Callable[[T], R], items: Sequence[T], workers: int = 0, progress: Progress | None = None
) -> list[R]:
    """Return ``work`` of each item, in order. ``workers``: threads (0: one per processor).

    ``progress`` is called in the caller's thread. After an exception no further item is started.
    """
    results = []
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        for result in pool.map(work, items):
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
