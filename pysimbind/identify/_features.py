"""Why directions cannot be told apart: facts about the steps, and their consequences.

A fact ("every prefill step here had one prompt") is true of all recorded steps, or of most. It is
tested on made-up steps. A fact explains why some terms go together if two things hold. The terms
are linearly dependent over made-up steps where only this fact is true. Without the fact, they are
independent. If no fact explains it, two terms may still be nearly proportional in the recorded
steps.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from ..models import HINGE_TOKENS, TERMS, Steps
from ..objective import Objective
from ..simulator import Simulator

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_MOST = 0.8  # a fact true of this share of its steps is reported, with the count
_PROBES = 600
_DEPENDENT = 1e-9  # share of the largest singular value; below it, terms are dependent
_NEARLY = 0.1  # relative root mean square deviation of a term from a multiple of another


class Reasons:
    """Explanations from the steps of an objective's runs, which are simulated on first use."""

    def __init__(self, objective: Objective, x: FloatArray) -> None:
        self._objective, self._x = objective, x
        self._steps: Steps | None = None

    def __call__(self, names: Sequence[str], exactly: bool) -> str:
        """Return why the terms ``names`` go together in these steps, or ``""``.

        ``exactly``: the terms must be exactly dependent, so near proportion is no reason. A single
        term with some effect, but too little, needs no reason; this saves many traced runs.
        """
        if len(names) == 1 and not exactly:
            return ""
        if any(name not in FEATURES for name in names):
            return ""
        if self._steps is None:
            self._steps = _record(self._objective, self._x)
        told = explain(names, self._steps, exactly)
        return told if told or exactly else _proportional(names, self._steps)


def _record(objective: Objective, x: FloatArray) -> Steps:
    """Return the steps of all runs, one run after the other."""
    found = []
    for experiment in objective.experiments:
        with Simulator(experiment.workload, experiment.config, objective.model) as simulator:
            trace = simulator.run(x, trace=True).trace
        assert trace is not None  # it was asked for
        counts = (
            trace.decode_tokens,
            trace.prefill_tokens,
            trace.max_prefill_tokens,
            trace.num_prefills,
            trace.context_tokens,
            trace.attention_pairs,
        )
        busy = trace.decode_tokens + trace.prefill_tokens > 0  # not those that only preempted
        found.append(np.array(counts, dtype=np.float64)[:, busy])
    return Steps(*np.concatenate(found, axis=1))


FEATURES: Mapping[str, Callable[[Steps], FloatArray]] = MappingProxyType(
    {term.name: term.feature for term in TERMS if term.feature is not None}
)
"""By the names of the terms; those on the request's side are no feature of a step."""


@dataclass(frozen=True)
class Fact:
    """A statement about steps: "every" (or "11 of 12") ``subject`` ``statement``."""

    subject: str
    """The kind of step."""
    statement: str
    """What is true of it."""
    about: Callable[[Steps], BoolArray]
    """Tells which steps are of this kind."""
    true: Callable[[Steps], BoolArray]
    """Tells for which of all steps the statement holds."""
    imposed: Callable[[Steps], Steps]
    """Changes steps so that the statement holds for each."""
    share: float = _MOST
    """The fact is reported only if it is true of at least this share of its steps."""

    def told(self, steps: Steps) -> str:
        """Return the sentence, or ``""`` if the fact is true of too few steps."""
        total = int(self.about(steps).sum())
        count = total - int(self.exceptions(steps).sum())
        if total == 0 or count < self.share * total:
            return ""
        which = "every" if count == total else f"{count:,} of {total:,}"
        subject = self.subject if count == total else f"{self.subject}s"
        return f"{which} {subject} here {self.statement}"

    def exceptions(self, steps: Steps) -> BoolArray:
        """Tell which steps [S] are of this kind, but contradict the statement."""
        return self.about(steps) & ~self.true(steps)


def explain(names: Sequence[str], steps: Steps, exactly: bool = False) -> str:
    """Return why the terms ``names`` go together in these steps, or ``""`` if no fact explains it.

    The answer has the fewest facts, at most two. If terms go together ``exactly``, each kind of
    exceptional step removes one dependence, and one must be left.
    """
    made_up = _made_up()
    if _dependences(names, made_up):
        return ""
    facts = [(fact, told) for fact in _facts(steps) if (told := fact.told(steps))]
    for number in (1, 2):
        for chosen in itertools.combinations(facts, number):
            world, odd = made_up, np.zeros(steps.D.size, dtype=bool)
            for fact, _ in chosen:
                world, odd = fact.imposed(world), odd | fact.exceptions(steps)
            kinds = len(np.unique(_columns(names, steps)[odd], axis=0)) if exactly else 0
            if _dependences(names, world) > kinds:
                others = f", the others were of {kinds} kind{'s' if kinds > 1 else ''}"
                return " and ".join(told for _, told in chosen) + (others if kinds else "")
    return ""


def _proportional(names: Sequence[str], steps: Steps) -> str:
    """Say that two terms were nearly proportional over the steps with either, or ``""``."""
    if len(names) != 2:
        return ""
    first, second = (FEATURES[name](steps) for name in names)
    size = float(first @ first)
    if size == 0 or not second.any():
        return ""
    ratio = float(first @ second) / float(second @ second)
    off = float(np.linalg.norm(first - ratio * second)) / np.sqrt(size)
    if off > _NEARLY:
        return ""
    return f"{names[0]} was {ratio:.3g} × {names[1]} in these steps, give or take {100 * off:.0f} %"


def _dependences(names: Sequence[str], steps: Steps) -> int:
    """Return how many combinations of the terms are 0 in all of these steps."""
    columns = _columns(names, steps)
    lengths = np.linalg.norm(columns, axis=0)
    columns = columns / np.where(lengths > 0, lengths, 1.0)
    values = np.linalg.svd(columns, compute_uv=False)
    return len(names) - int(np.count_nonzero(values > _DEPENDENT * values[0]))


def _columns(names: Sequence[str], steps: Steps) -> FloatArray:
    """Return the terms [S, names] of each step."""
    return np.stack([FEATURES[name](steps) for name in names], axis=1)


@functools.cache
def _made_up() -> Steps:
    """Return steps of every kind, for which no fact is true. They are always the same."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(0, 5, _PROBES)
    chunks = [np.ceil(np.exp(rng.uniform(0, np.log(600), n))) for n in prompts]  # many are small
    total = np.array([c.sum() for c in chunks], dtype=np.float64)
    largest = np.array([c.max(initial=0) for c in chunks], dtype=np.float64)
    decoded = rng.integers(0, 400, _PROBES) * (rng.random(_PROBES) < 0.7)
    busy = (decoded > 0) | (total > 0)  # a step that does nothing does not count
    ctx = decoded * rng.uniform(0, 900, _PROBES)
    attn = total * rng.uniform(1, 900, _PROBES)
    every = (decoded.astype(np.float64), total, largest, prompts.astype(np.float64), ctx, attn)
    return Steps(*(values[busy] for values in every))


def _facts(steps: Steps) -> list[Fact]:
    """Return all facts that may be true. Their constants come from the steps."""
    chunk, total, batch = (
        _usual(values[about])
        for values, about in (
            (steps.M, steps.P > 0),
            (steps.P, steps.P > 0),
            (steps.D, steps.D > 0),
        )
    )
    return [
        Fact("step", "was without prefill", _any, lambda s: s.P == 0, _without_prefill, 1.0),
        Fact("step", "was without decode", _any, lambda s: s.D == 0, _without_decode, 1.0),
        Fact(
            "step",
            f"had at most {HINGE_TOKENS} tokens",
            _any,
            lambda s: s.D + s.P <= HINGE_TOKENS,
            _small,
            1.0,
        ),
        Fact("prefill step", "had one prompt", _prefills, lambda s: s.N == 1, _one_prompt),
        Fact(
            "prefill step",
            "had one prompt, all of it",
            _prefills,
            lambda s: (s.N == 1) & np.equal(s.attn, _pairs(s.M)),
            _whole_prompt,
        ),
        Fact(
            "prefill step",
            f"had a largest chunk of {chunk:g} tokens",
            _prefills,
            lambda s: np.equal(s.M, chunk),
            lambda s: _with_chunk(s, chunk),
        ),
        Fact(
            "prefill step",
            f"prefilled {total:g} tokens",
            _prefills,
            lambda s: np.equal(s.P, total),
            lambda s: _with_total(s, total),
        ),
        Fact(
            "decode step",
            f"decoded {batch:g} tokens",
            lambda s: s.D > 0,
            lambda s: np.equal(s.D, batch),
            lambda s: s._replace(D=np.where(s.D > 0, batch, 0.0)),
        ),
        Fact("prefill step", "decoded nothing", _prefills, lambda s: s.D == 0, _separate),
        Fact("prefill step", "decoded too", _prefills, lambda s: s.D > 0, _together),
    ]


def _usual(values: FloatArray) -> float:
    """Return the most frequent of the values above 0; 0 where there is none."""
    distinct, counts = np.unique(values[values > 0], return_counts=True)
    return float(distinct[np.argmax(counts)]) if distinct.size else 0.0


def _any(s: Steps) -> BoolArray:
    return np.ones(s.D.size, dtype=bool)


def _prefills(s: Steps) -> BoolArray:
    return s.P > 0


def _without_prefill(s: Steps) -> Steps:
    none = np.zeros_like(s.P)
    return s._replace(P=none, M=none, N=none, attn=none)


def _without_decode(s: Steps) -> Steps:
    return s._replace(D=np.zeros_like(s.D), ctx=np.zeros_like(s.D))


def _small(s: Steps) -> Steps:
    """Drop steps with more prefill tokens than ``HINGE_TOKENS``, and decoded tokens beyond it."""
    fits = s.P <= HINGE_TOKENS
    kept = Steps(*(values[fits] for values in s))
    return kept._replace(D=np.minimum(kept.D, HINGE_TOKENS - kept.P))


def _one_prompt(s: Steps) -> Steps:
    """Keep the largest chunk of each step."""
    return s._replace(P=s.M, N=np.minimum(s.N, 1.0))


def _whole_prompt(s: Steps) -> Steps:
    alone = _one_prompt(s)
    return alone._replace(attn=_pairs(alone.M))


def _pairs(tokens: FloatArray) -> FloatArray:
    """Return the pairs of query and key in a chunk with nothing before it."""
    return tokens * (tokens + 1) / 2


def _with_chunk(s: Steps, chunk: float) -> Steps:
    M = np.where(s.P > 0, chunk, 0.0)
    return s._replace(M=M, P=np.where(s.N == 1, M, s.P))


def _with_total(s: Steps, total: float) -> Steps:
    P = np.where(s.P > 0, total, 0.0)
    return s._replace(P=P, M=np.where(s.N == 1, P, s.M))


def _separate(s: Steps) -> Steps:
    alone = s.P > 0
    return s._replace(D=np.where(alone, 0.0, s.D), ctx=np.where(alone, 0.0, s.ctx))


def _together(s: Steps) -> Steps:
    return s._replace(D=np.where(s.P > 0, np.maximum(s.D, 1.0), s.D))
