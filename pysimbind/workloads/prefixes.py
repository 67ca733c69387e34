"""The tokens that requests share: common beginnings of prompts, and growing conversations.

A prefix cache only compares the ids at the beginning of two prompts. So an id just names the owner
of the token: tokens of a shared prefix have the number of its group, all others the number of their
session. Two requests share the common prefix. Within a session, they share all earlier turns. They
share nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .._arguments import integer, non_negative
from ..errors import WorkloadError
from ..workload import FloatArray, IntArray
from ._spec import parse_values
from .lengths import Lengths, as_lengths

_MOST = 2**20  # most prefixes: more than any server can hold


@dataclass(frozen=True)
class Prefixes:
    """``num_prefixes`` groups of requests, each with a common beginning of ``prefix_len`` tokens.

    The names are those of vLLM's dataset ``prefix_repetition``. The prefix stands before a
    request's own tokens, and adds to their number. Each session draws its group; without sessions
    each request does. Group k has a weight of 1 / k**skew (Zipf's law; 0: equal weights).
    """

    num_prefixes: int
    prefix_len: int
    skew: float = 0.0

    def __post_init__(self) -> None:
        integer("num_prefixes", self.num_prefixes, 1, _MOST)
        integer("prefix_len", self.prefix_len, 1, 2**26)
        non_negative("skew", self.skew)

    def groups(self, size: int, rng: np.random.Generator) -> IntArray:
        """Draw group numbers [size], from 0."""
        weights = np.arange(1, self.num_prefixes + 1) ** -float(self.skew)
        bounds = np.cumsum(weights / weights.sum())
        drawn = np.searchsorted(bounds, rng.random(size), side="right")
        return np.minimum(drawn, self.num_prefixes - 1)  # rounding may leave the last bound below 1


@dataclass(frozen=True)
class Sessions:
    """Conversations: each prompt has all that was said before, and new tokens of the user.

    A workload is planned in advance, so a turn cannot wait for the server's answer. It is sent
    after a nominal latency: ``ttft_s`` + ``tpot_s`` (output tokens - 1) + think time after the turn
    before it. Choose these latencies at least as long as the server's. On a slower server turns
    overtake earlier turns, and find less in the cache.
    """

    turns: Lengths | str | int
    """Number of turns in a session: a distribution as in ``lengths``."""
    think_s: float
    """Mean think time in seconds; it is gamma distributed."""
    ttft_s: float
    """Nominal time to first token, in seconds."""
    tpot_s: float
    """Nominal time per output token, in seconds."""
    think_cv: float = 1.0
    """Coefficient of variation of the think time (1: exponential; 0: constant)."""
    max_model_len: int | None = None
    """Most tokens of a turn's prompt and output; None: no limit. A longer turn ends the session
    early, and opens the next one."""

    def __post_init__(self) -> None:
        as_lengths(self.turns, "turns")  # raises for anything but a distribution
        for name in ("think_s", "ttft_s", "tpot_s"):
            non_negative(name, getattr(self, name))
        if non_negative("think_cv", self.think_cv) and not 1e-3 <= self.think_cv <= 1e3:
            raise WorkloadError(f"think_cv must be 0 or from 0.001 to 1000, got {self.think_cv!r}")
        if self.max_model_len is not None:
            integer("max_model_len", self.max_model_len, 1, 2**31)

    def numbers(self, tokens: IntArray, prefix_len: int, rng: np.random.Generator) -> IntArray:
        """Return the session of each request [R], in order of sessions; the last may be cut short.

        ``tokens`` [R]: new prompt tokens and output tokens of each turn. ``prefix_len``: tokens
        that a session begins with.
        """
        turns = as_lengths(self.turns, "turns").sample(rng, tokens.size).tolist()
        limit = math.inf if self.max_model_len is None else self.max_model_len
        session, left, context = -1, 0, 0
        numbers = np.empty(tokens.size, dtype=np.int64)
        for i, added in enumerate(tokens.tolist()):
            if left == 0 or context + added > limit:
                session, left, context = session + 1, turns[session + 1], prefix_len
            numbers[i] = session
            left -= 1
            context += added
        return numbers

    def gaps_s(self, output_tokens: IntArray, rng: np.random.Generator) -> FloatArray:
        """Return the time [R] from each request to the next turn of its session, in seconds."""
        think = np.full(output_tokens.size, self.think_s)
        if self.think_s > 0 and self.think_cv > 0:
            shape = 1 / self.think_cv**2
            think = rng.gamma(shape, self.think_s / shape, output_tokens.size)
        gaps: FloatArray = self.ttft_s + self.tpot_s * np.maximum(output_tokens - 1, 0) + think
        return gaps


def spell(
    session: IntArray,
    own: IntArray,
    output: IntArray,
    shared: Prefixes | None,
    rng: np.random.Generator,
) -> tuple[list[npt.NDArray[np.int32]], list[npt.NDArray[np.int32]]]:
    """Return the token ids of prompts and outputs [R], one list each.

    ``session`` [R]: number of each request's session. ``own`` [R]: its prompt tokens without the
    prefix. ``output`` [R]: its output tokens. ``rng`` draws the group of each session.
    """
    groups, head_len = (0, 0) if shared is None else (shared.num_prefixes, shared.prefix_len)
    heads = np.zeros(session.size, dtype=np.int32)
    if shared is not None:
        heads = shared.groups(int(session.max()) + 1, rng)[session].astype(np.int32)
    owners = (groups + session).astype(np.int32)  # different from every group number
    prompts = [
        np.repeat(pair, (head_len, tokens))
        for pair, tokens in zip(np.column_stack((heads, owners)), own, strict=True)
    ]
    return prompts, [np.repeat(*pair) for pair in zip(owners, output, strict=True)]


def as_prefixes(value: Prefixes | str | None) -> Prefixes | None:
    """Return prefixes themselves, or parse ``"num_prefixes=8,prefix_len=512"``."""
    if value is None or isinstance(value, Prefixes):
        return value
    return parse_values(_text("prefix", value), f"prefix {value!r}", Prefixes)


def as_sessions(value: Sessions | str | None) -> Sessions | None:
    """Return sessions themselves, or parse a text.

    Examples: ``"turns=4,think_s=10,ttft_s=0.2,tpot_s=0.02"``,
    ``"turns=uniform(1,8),think_s=10,..."``.
    """
    if value is None or isinstance(value, Sessions):
        return value
    return parse_values(_text("sessions", value), f"sessions {value!r}", Sessions)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise WorkloadError(
            f"{what} must be a text or an object of pysimbind.workloads, got {type(value).__name__}"
        )
    return value
