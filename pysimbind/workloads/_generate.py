"""Workloads drawn from distributions, with one random stream per purpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._arguments import integer
from ..workload import FloatArray, IntArray, Workload
from .arrivals import Arrivals, as_arrivals
from .lengths import Lengths, as_lengths
from .prefixes import Prefixes, Sessions, as_prefixes, as_sessions, spell

# One stream per purpose. Add a new purpose at the end: the other streams then stay the same.
_STREAMS = ("arrivals", "input_tokens", "output_tokens", "prefix", "turns", "think")


def generate(
    num_requests: int,
    *,
    input_tokens: Lengths | str | int,
    output_tokens: Lengths | str | int,
    arrivals: Arrivals | str = "at-once",
    prefix: Prefixes | str | None = None,
    sessions: Sessions | str | None = None,
    max_concurrency: int | None = None,
    seed: int = 0,
) -> Workload:
    """Return a workload of ``num_requests`` requests drawn from distributions.

    ``input_tokens``, ``output_tokens``: see ``as_lengths`` for the texts. ``arrivals``: see
    ``as_arrivals``; with sessions, these are the times of their first turns. ``prefix``: tokens
    shared between requests, in front of ``input_tokens``. ``sessions``: conversations. Then
    ``input_tokens`` are the user's new tokens in each turn, ``num_requests`` counts turns, and
    requests are in order of arrival. ``max_concurrency``: closed loop, see ``Workload``. Only
    workloads with prefixes or sessions have token ids: without them nothing can repeat.

    ``seed``: an integer >= 0. Arrivals, prompt lengths, output lengths, prefixes, turns and think
    times have a random stream each (children of numpy's ``SeedSequence``). A change of one of them
    does not change the draws of the others. Raises ``WorkloadError`` for anything out of range.
    """
    count = integer("num_requests", num_requests, 1, 2**31)
    process, shared, talk = as_arrivals(arrivals), as_prefixes(prefix), as_sessions(sessions)
    streams = seed_streams(seed)
    rng = {name: np.random.default_rng(stream) for name, stream in streams.items()}
    new = as_lengths(input_tokens, "input_tokens").sample(rng["input_tokens"], count)
    output = as_lengths(output_tokens, "output_tokens").sample(rng["output_tokens"], count)
    if shared is None and talk is None:
        arrival_s = process.times(count, streams["arrivals"])
        return Workload(arrival_s, new, output, max_concurrency=max_concurrency)

    prefix_len = 0 if shared is None else shared.prefix_len
    session, own, wait_s = _turns(talk, new, output, prefix_len, rng)
    arrival_s = process.times(int(session[-1]) + 1, streams["arrivals"])[session] + wait_s
    prompt_ids, output_ids = spell(session, own, output, shared, rng["prefix"])
    order = np.argsort(arrival_s, kind="stable")
    return Workload(
        arrival_s[order],
        own[order] + prefix_len,
        output[order],
        prompt_token_ids=[prompt_ids[i] for i in order],
        output_token_ids=None if talk is None else [output_ids[i] for i in order],
        max_concurrency=max_concurrency,
    )


def seed_streams(seed: int) -> dict[str, np.random.SeedSequence]:
    """Return the independent random streams of a seed, by purpose."""
    root = np.random.SeedSequence(integer("seed", seed, 0, 2**128))
    return dict(zip(_STREAMS, root.spawn(len(_STREAMS)), strict=True))


def _turns(
    talk: Sessions | None,
    new: IntArray,
    output: IntArray,
    prefix_len: int,
    rng: dict[str, np.random.Generator],
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the session of each request [R], its prompt tokens after the prefix, and its wait.

    The wait is in seconds since the session began. Without sessions, each request is its own
    session.
    """
    if talk is None:
        return np.arange(new.size), new, np.zeros(new.size)
    session = talk.numbers(new + output, prefix_len, rng["turns"])
    wait_s = _before(talk.gaps_s(output, rng["think"]), session)
    return session, new + _before(new + output, session), wait_s


def _before(values: npt.NDArray[Any], session: IntArray) -> npt.NDArray[Any]:
    """Return, for each turn [R], the sum of the values of the earlier turns in its session."""
    before = np.concatenate((np.zeros(1, values.dtype), np.cumsum(values)[:-1]))
    first = np.searchsorted(session, session)  # where the session begins
    sums: npt.NDArray[Any] = before - before[first]
    return sums
