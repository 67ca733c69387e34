"""Checks for prefix cache hits that the simulation will not have."""

from __future__ import annotations

import numpy as np

from ._report import Finding
from ._view import View

_NOTE_SHARE = 0.02

_MIN_ALONE = 30
_LONG_SPREAD = 4.0
_MUCH = 0.5
_DEVIATIONS = 6.0


def prefix_hits(view: View) -> Finding | None:
    """Prompt tokens from the server's cache (``cached_tokens``) that the simulated one lacks.

    The provenance counts hits, but the config has prefix caching off, or the workload has no
    token ids that tell which prompts share prefixes. A note up to 2 % of all prompt tokens, else a
    warning.
    """
    cached = view.per_request("cached_tokens")
    if cached is None:
        return None
    config, workload = view.experiment.config, view.experiment.workload
    if config.enable_prefix_caching and workload.prompt_ids is not None:
        return None
    bad = cached > 0
    if not bad.any():
        return None
    share = float(cached[bad].sum() / max(workload.input_tokens.sum(), 1))
    why, mend = ("the workload has no token ids", "give prompt_token_ids")
    if not config.enable_prefix_caching:
        why, mend = ("prefix caching is off in the config", "turn enable_prefix_caching on")
    return Finding(
        "prefix_hits",
        "note" if share <= _NOTE_SHARE else "warning",
        np.flatnonzero(bad),
        f"{np.count_nonzero(bad)} of {view.requests} requests hit the prefix cache, with "
        f"{100 * share:.2g} % of all prompt tokens, but {why}",
        f"nothing changed: {mend}",
    )


def prefix_hits_suspected(view: View) -> Finding | None:
    """TTFTs too short for a whole prompt, in a run with prefix caching off and without counters.

    Of the requests sent while no other waited (at least 30, of lengths that differ by a factor of
    4), a robust line (Theil and Sen) gives the TTFT by prompt length. Those of more than the
    median length that took less than half of it, and lie 6 robust standard deviations below, look
    cached. A note: it is a guess.
    """
    config = view.experiment.config
    if config.enable_prefix_caching or "cached_tokens" in view.experiment.provenance:
        return None
    prompt = view.experiment.workload.input_tokens
    alone = np.flatnonzero((view.waiting == 0) & (view.ttft > 0) & (prompt > 0))
    if alone.size < _MIN_ALONE or np.ptp(np.log(prompt[alone])) < np.log(_LONG_SPREAD):
        return None
    from scipy.stats import theilslopes  # here: it takes half a second to import

    alone = alone[np.linspace(0, alone.size - 1, min(alone.size, 1000)).astype(np.int64)]
    slope, offset, lowest, _ = theilslopes(view.ttft[alone], prompt[alone])
    if lowest <= 0:
        return None  # no dependence on the length that could be told from noise
    expected = offset + slope * prompt
    off = view.ttft - expected
    deviation = 1.4826 * float(np.median(np.abs(off[alone])))
    bad = (view.waiting == 0) & (prompt > np.median(prompt[alone]))
    bad &= (view.ttft < _MUCH * expected) & (off < -_DEVIATIONS * deviation)
    if not bad.any():
        return None
    return Finding(
        "prefix_hits_suspected",
        "note",
        np.flatnonzero(bad),
        f"{np.count_nonzero(bad)} of {view.requests} requests have a TTFT too short for their "
        "prompt, with prefix caching off in the config",
        "nothing changed: look whether the server had prefix caching on",
    )
