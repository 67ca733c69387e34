"""The printed lists of latencies of the original experiment's patched benchmark, as text.

The patch to vLLM's ``benchmark_serving.py`` (mid-2025) printed ``TTFTs: [``, then numbers with a
comma after each, then ``]``. In the same way it printed ``e2els: [`` (or ``e2eLs``) and ``TPOTs:
[``. All are in seconds, in request order, for the requests that succeeded. If E2Es are missing,
they follow from the times per output token. Other output is ignored.

The file does not describe the requests. The option ``workload`` gives the token counts, and also
the arrivals, unless the option ``arrivals`` draws them.
"""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ExperimentError
from ..experiment import Experiment
from ._asked import Asked
from ._fields import located
from ._options import ReadOptions, pick_run
from ._source import Source
from ._start_times import GRAMMAR, generate

FloatArray = npt.NDArray[np.float64]

_LIST = re.compile(r"\b(TTFTs|e2els|TPOTs)\s*:\s*\[([^\]]*)(\]?)", re.IGNORECASE)
_FIRST = re.compile(r"\bTTFTs\s*:\s*\[", re.IGNORECASE)


def detect(source: Source) -> bool:
    """Tell whether a text holds a list of TTFTs."""
    if source.first is not None or "\0" in source.head:
        return False
    return _FIRST.search(source.data.decode("utf-8", errors="replace")) is not None


def read(source: Source, options: ReadOptions) -> Experiment:
    """Make the experiment; ``ExperimentError`` names the file and line."""
    lists = _lists(source)
    described = [f"{values.size} requests" for values in lists["ttfts"]]
    run = pick_run(options, source.where, described)
    ttft = lists["ttfts"][run]
    given = options.asked(source.where)
    given.require(ttft.size, source.where)
    arrival_s, note = _arrivals(options, source.where, given)
    config, server = options.server(source.where, [])
    with located(source.where):
        return Experiment(
            name=source.name,
            workload=given.workload(arrival_s),
            config=config,
            ttft=ttft,
            e2e=_e2e(source.where, lists, run, given),
            input_source=given.input_source,
            output_source=given.output_source,
            provenance={
                "source": "printed by the original experiment's benchmark",
                "workload": f"from {os.path.basename(given.where)}",
                **note,
                **server,
            },
        )


def _lists(source: Source) -> dict[str, list[FloatArray]]:
    found: dict[str, list[FloatArray]] = {"ttfts": [], "e2els": [], "tpots": []}
    for match in _LIST.finditer(source.text):
        line = source.text.count("\n", 0, match.start()) + 1
        at = f"{source.where}: line {line}: {match[1]}"
        if not match[3]:
            raise ExperimentError(f"{at}: the list has no end (']'): is the output cut off?")
        words = match[2].replace(",", " ").split()
        try:
            values = np.array([float(word) for word in words])
        except ValueError as exc:
            raise ExperimentError(f"{at}: {exc}") from exc
        found[match[1].lower()].append(values)
    return found


def _e2e(where: str, lists: dict[str, list[FloatArray]], run: int, given: Asked) -> FloatArray:
    ttfts = lists["ttfts"]
    e2els, tpots = lists["e2els"], lists["tpots"]
    name, values = ("e2els", e2els) if e2els else ("TPOTs", tpots)
    if len(values) != len(ttfts):
        raise ExperimentError(
            f"{where}: {len(ttfts)} lists of TTFTs, but {len(e2els)} of e2els and {len(tpots)} of "
            "TPOTs: as many of one of these are needed"
        )
    if values[run].size != ttfts[run].size:
        raise ExperimentError(
            f"{where}: {ttfts[run].size} TTFTs, but {values[run].size} {name}: not of one run"
        )
    if e2els:
        return values[run]
    waited: FloatArray = ttfts[run] + values[run] * np.maximum(given.output_tokens - 1, 0)
    return waited


def _arrivals(options: ReadOptions, where: str, given: Asked) -> tuple[FloatArray, dict[str, Any]]:
    if options.arrivals is not None:
        made = generate(options.arrivals, len(given), where)
        return made.arrival_s, {"arrivals": made.note}
    if given.arrival_s is None:
        raise ExperimentError(
            f"{where}: the workload {given.where} tells no arrivals: give arrivals={GRAMMAR}"
        )
    return given.arrival_s, {}
