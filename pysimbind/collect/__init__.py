"""Measure a real vLLM server and save what came of it as experiments.

``python -m pysimbind.collect config.yaml --output DIR`` does all of it; from Python::

    from pysimbind.collect import Store, Tools, measure, read_plan

    store = Store("results")
    with store.locked():
        for run in store.pending(read_plan("config.yaml"), redo=()):
            measure(run, store, Tools())
"""

from __future__ import annotations

from .measure import Tools, measure
from .plan import Run, read_plan
from .store import Store

__all__ = ["Run", "Store", "Tools", "measure", "read_plan"]
