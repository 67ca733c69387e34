"""``Loss``: made from its parts, from a name, or from a text."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FitError, nearest
from ._misfit import ERRORS, RHOS, Misfit
from ._terms import STATISTICS, TARGETS, Measured, Term

FloatArray = npt.NDArray[np.float64]

_UNITS = {"absolute": "s^2", "relative": "rel^2", "log": "log^2"}


@dataclass(frozen=True)
class Loss:
    """A loss: a function of simulated TTFTs and E2Es [N, R] in seconds that gives [N] values.

    The loss is the weighted mean, over its terms, of each term's mean rho(e). e is the error of a
    simulated latency s against the measured m. TPOT is (E2E - TTFT) / (output tokens - 1).

    A request is left out if the latency was not measured (NaN). It is also left out if the latency
    is zero and errors are relative or log, and, for TPOT, if it has one output token. A candidate
    that never finishes some request scores infinity.

    Raises ``FitError`` for unknown names, and for weights, a scale or a warm-up out of range.
    """

    terms: tuple[Term, ...]
    """The latencies to compare; their order does not matter."""
    errors: str = "relative"
    """What e is: s - m in seconds ("absolute"), s/m - 1 ("relative"), or log(s/m) ("log")."""
    rho: str = "squared"
    """How errors count: e² ("squared"), C²·2(√(1 + (e/C)²) - 1) ("soft_l1"), or "huber". Huber is
    e² up to |e| = C, and 2C|e| - C² beyond."""
    scale: float | None = None
    """C, in the unit of e; None for squared errors."""
    warmup: int = 0
    """How many requests to leave out: those that arrive first."""
    unpaired: bool = False
    """Whether simulated E2Es are taken in order of completion (arrival + E2E). It reproduces a
    mistake of the original experiment, to show its effect."""

    def __post_init__(self) -> None:
        _known("errors", self.errors, ERRORS)
        _known("rho", self.rho, RHOS)
        terms = sorted((_checked(*term) for term in self.terms), key=_place)
        object.__setattr__(self, "terms", tuple(terms))
        self._check_terms()
        if self.rho == "squared" and self.scale is not None:
            raise FitError("squared errors have no scale: take soft_l1 or huber, or leave it out")
        if self.rho != "squared":
            object.__setattr__(self, "scale", _positive(f"the scale of {self.rho}", self.scale))
        object.__setattr__(self, "warmup", _count("warmup", self.warmup))

    def _check_terms(self) -> None:
        if not self.terms:
            raise FitError(f"nothing to compare: name at least one of {', '.join(TARGETS)}")
        labels = [term.label for term in self.terms]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise FitError(f"{twice!r} is twice in a loss: give it once, with its weight")

    @classmethod
    def parse(cls, text: str) -> Loss:
        """Return the loss of a name, or of comma-separated words in any order.

        ``ttft``, ``e2e``, ``tpot``: compare this latency per request. A suffix ``.mean``, ``.p50``,
        ``.p90`` or ``.p99`` compares this statistic instead, and ``:W`` sets the weight.
        ``absolute``, ``relative`` (the default) or ``log``: the errors. ``soft_l1:C`` or
        ``huber:C``: errors above C count less. ``warmup:K``: leave out the first K requests.
        ``unpaired``: see ``Loss``. Example:
        ``"relative,ttft,e2e:5,tpot.p99:2,soft_l1:0.05,warmup:10"``.

        Raises ``FitError`` for any other word, with the nearest known word.
        """
        if text in LOSSES:
            return LOSSES[text]
        terms: list[Term] = []
        options: dict[str, Any] = {}
        for word in map(str.strip, text.split(",")):
            read = _read(word, text)
            if isinstance(read, Term):
                terms.append(read)
                continue
            again = next((key for key in read if key in options), None)
            if again is not None:
                raise FitError(f"loss {text!r}: {word!r} is one too many: {again} is already set")
            options |= read
        try:
            return cls(tuple(terms), **options)
        except FitError as exc:
            raise FitError(f"loss {text!r}: {exc}") from None

    @property
    def name(self) -> str:
        """Its name in ``LOSSES``, or a text that ``parse`` reads as the same loss."""
        for name, loss in LOSSES.items():
            if loss == self:
                return name
        words = [self.errors]
        for term in self.terms:
            words.append(term.label if term.weight == 1 else f"{term.label}:{_short(term.weight)}")
        words += [] if self.scale is None else [f"{self.rho}:{_short(self.scale)}"]
        words += [f"warmup:{self.warmup}"] if self.warmup else []
        return ",".join(words + ["unpaired"] * self.unpaired)

    @property
    def unit(self) -> str:
        """``"s^2"``; or ``"rel^2"`` and ``"log^2"``, which have no dimension."""
        return _UNITS[self.errors]

    def against(self, measured: Measured) -> Misfit:
        """Return the loss bound to the measured latencies, with residuals and derivatives.

        Raises ``FitError`` if a term has no measured latency.
        """
        return Misfit(
            self.terms,
            measured,
            errors=self.errors,
            rho=self.rho,
            scale=self.scale,
            warmup=self.warmup,
            unpaired=self.unpaired,
        )

    def __call__(self, measured: Measured, ttft: FloatArray, e2e: FloatArray) -> FloatArray:
        """Return the losses [N] of N simulations; never NaN."""
        return self.against(measured).values(ttft, e2e)


def find_loss(loss: str | Loss) -> Loss:
    """Return a loss itself, or parse its text. Raises ``FitError`` for anything else."""
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, str):
        raise FitError(f"loss must be a text or a Loss, got {type(loss).__name__}")
    return Loss.parse(loss)


def _read(word: str, text: str) -> Term | dict[str, Any]:
    """Return the term or the fields that one word of a loss sets."""
    key, colon, argument = word.partition(":")
    target, _, statistic = key.partition(".")
    if target in TARGETS:
        return Term(target, statistic, _number(word, argument, text) if colon else 1.0)
    if key in RHOS and key != "squared":
        return {"rho": key, "scale": _number(word, argument, text)}
    if key == "warmup":
        return {"warmup": _number(word, argument, text)}
    if not colon and key in ERRORS:
        return {"errors": key}
    if word == "squared":
        return {"rho": word}
    if word == "unpaired":
        return {"unpaired": True}
    if word == text:
        raise FitError(
            f"unknown loss {text!r}{nearest(text, (*LOSSES, *_WORDS))} "
            f"(losses: {', '.join(LOSSES)}; or words as in 'relative,ttft,e2e:5,soft_l1:0.05')"
        )
    raise FitError(
        f"loss {text!r}: unknown word {word!r}{nearest(key, _WORDS)} (words: {', '.join(_WORDS)})"
    )


def _short(number: float) -> str:
    return repr(number).removesuffix(".0")


def _number(word: str, argument: str, text: str) -> float | int:
    for kind in (int, float):
        try:
            return kind(argument)
        except ValueError:
            pass
    raise FitError(f"loss {text!r}: {word!r} needs a number after its name, as in 'warmup:10'")


def _checked(target: str, statistic: str = "", weight: float = 1.0) -> Term:
    _known("latency", target, TARGETS)
    if statistic:
        _known(f"statistic of {target}", statistic, STATISTICS)
    return Term(target, statistic, _positive(f"the weight of {target}", weight))


def _place(term: Term) -> tuple[int, int]:
    return TARGETS.index(term.target), ["", *STATISTICS].index(term.statistic)


def _known(what: str, name: object, known: Collection[str]) -> None:
    if name not in known:
        raise FitError(
            f"unknown {what} {name!r}{nearest(str(name), known)} (known: {', '.join(known)})"
        )


def _positive(what: str, value: object) -> float:
    good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not good or not 0 < value < math.inf:  # type: ignore[operator]  # if good, it is a number
        raise FitError(f"{what} must be a number > 0, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def _count(what: str, value: object) -> int:
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # TypeError is what we look for
    except TypeError:
        number = -1
    if isinstance(value, bool) or number < 0:
        raise FitError(f"{what} must be a number of requests >= 0, got {value!r}")
    return number


_WORDS = (*TARGETS, *ERRORS, *RHOS, "warmup", "unpaired")

_BOTH = (Term("ttft"), Term("e2e"))

LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        # mean of the mean squared errors of TTFT and E2E, matched by request
        "original": Loss(_BOTH, errors="absolute"),
        # the formula of the original experiment. It compared simulated E2Es in order of completion
        # with measured ones in request order, so a perfect simulator scores far from 0
        "original-unpaired": Loss(_BOTH, errors="absolute", unpaired=True),
        # robust relative errors, with most weight on E2E: this loss predicts other loads best
        "recipe": Loss((Term("ttft"), Term("e2e", weight=5.0)), rho="soft_l1", scale=0.05),
    }
)
"""The losses that have a name."""
