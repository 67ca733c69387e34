"""The option ``arrivals``: when the requests were sent, for files without start times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError, nearest
from ..vllm.arrivals import rescaled_arrivals, sequential_arrivals
from ._fields import located

GENERATORS: dict[str, Callable[..., npt.NDArray[np.float64]]] = {
    "sequential": sequential_arrivals,
    "rescaled": rescaled_arrivals,
}
"""How clients draw their arrivals: see ``pysimbind.vllm.arrivals``."""

GRAMMAR = "seed=S,rate=R[,burstiness=B][,generator=sequential|rescaled]"
_KEYS = ("seed", "rate", "burstiness", "generator")


@dataclass(frozen=True)
class Generated:
    """Generated arrivals."""

    arrival_s: npt.NDArray[np.float64]
    """Arrivals [R] in seconds."""
    note: str
    """A sentence on how they were generated."""


def generate(
    text: str, count: int, where: str, rate: Any = None, burstiness: Any = None
) -> Generated:
    """Draw ``count`` arrivals as ``text`` says (``GRAMMAR``).

    ``rate``, ``burstiness``: values from the measurement file, for keys missing in the text. Raises
    ``ExperimentError`` for an unknown key, a missing seed or rate, and bad values.
    """
    at = f"{where}: arrivals={text}"
    words = _words(text, at)
    name = words.pop("generator", "sequential")
    if name not in GENERATORS:
        raise ExperimentError(
            f"{at}: unknown generator {name!r}{nearest(name, GENERATORS)} ({', '.join(GENERATORS)})"
        )
    seed = _number("seed", words.get("seed"), int, at)
    rps = _number("rate", words.get("rate", rate), float, at)
    told = 1.0 if burstiness is None else burstiness
    shape = _number("burstiness", words.get("burstiness", told), float, at)
    with located(at):
        arrival_s = GENERATORS[name](count, rps, burstiness=shape, seed=seed)
    return Generated(
        arrival_s,
        f"not in the file: drawn by the {name} generator, seed {seed}, rate {rps:g}/s, "
        f"burstiness {shape:g}",
    )


def _words(text: str, at: str) -> dict[str, str]:
    words: dict[str, str] = {}
    for word in text.split(","):
        key, _, value = (part.strip() for part in word.partition("="))
        if key not in _KEYS:
            raise ExperimentError(
                f"{at}: unknown key {key!r}{nearest(key, _KEYS)} (expected {GRAMMAR})"
            )
        if key in words:
            raise ExperimentError(f"{at}: {key} is given twice")
        words[key] = value
    return words


def _number(key: str, value: Any, kind: type, at: str) -> Any:
    if value is None:
        raise ExperimentError(f"{at}: {key} is missing (expected {GRAMMAR})")
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise ExperimentError(f"{at}: {key} must be a number, got {value!r:.40}") from exc
