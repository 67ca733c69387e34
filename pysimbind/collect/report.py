"""The closing table of a collection: what is there, and what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .._io.text import table
from ..formats import load_experiment
from .plan import Run
from .store import EXPERIMENT, Store

DONE, SKIPPED, MISSING = "done", "skipped", "missing"
_HEAD = ["run", "state", "requests", "failed", "TTFT [ms]", "E2E [ms]", "KV blocks", "preemptions"]


def report(runs: Sequence[Run], states: Mapping[str, str], store: Store) -> str:
    """Return a row for each run with the means of what was measured, and a count of the states.

    ``states``: run -> done, skipped (was finished before), missing, or ``failed: why``.
    """
    rows = [_HEAD, *(_row(run, states[run.path], store) for run in runs)]
    kinds = [state.partition(":")[0] for state in states.values()]
    counts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
    return f"{table(rows, left=(0, 1))}\n\n{', '.join(counts)}; results: {store.root}"


def _row(run: Run, state: str, store: Store) -> list[str]:
    kind = state.partition(":")[0]
    if kind not in (DONE, SKIPPED):
        return [run.path, kind, *["-"] * (len(_HEAD) - 2)]
    experiment = load_experiment(store.folder(run) / EXPERIMENT)
    counters = experiment.provenance.get("counters") or {}
    blocks = experiment.config.num_gpu_blocks
    return [
        run.path,
        kind,
        f"{experiment.num_requests:,}",
        f"{int(np.isnan(experiment.e2e).sum()):,}",
        f"{1e3 * float(np.nanmean(experiment.ttft)):,.1f}",
        f"{1e3 * float(np.nanmean(experiment.e2e)):,.1f}",
        "-" if blocks is None else f"{blocks:,}",
        f"{counters['num_preemptions']:,}" if "num_preemptions" in counters else "-",
    ]
