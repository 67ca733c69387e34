"""Pictures of a run. Needs matplotlib: ``pip install 'pysimbind[plot]'``."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._io.files import write_bytes
from ..errors import MissingExtraError, OutputError
from ..results import SimResult
from .timeline import Timeline, timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FORMATS = ("png", "svg", "pdf")
_MOST_POINTS = (
    2000  # about the picture's width in pixels; matplotlib cannot fill areas of millions of points
)


def plot_run(result: SimResult, *, title: str = "", kv_capacity: int | None = None) -> Figure:
    """Draw running and waiting requests, and KV blocks in use, over simulated time.

    ``kv_capacity``: blocks of the pool; they are marked if the curves stay readable. Of long runs,
    the picture shows the largest value in each of 2000 spans of time. Raises ``InputError`` for a
    run without a trace, and ``MissingExtraError`` without matplotlib.
    """
    line = _thinned(timeline(result))
    figure: Figure = figure_class()(figsize=(9, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.set_title(title, loc="left", fontsize=10)
    _area(upper, line.time_s, line.running, "running", "#2a6f97")
    _area(upper, line.time_s, line.waiting, "waiting", "#d1495b")
    upper.set_ylabel("requests")
    _area(lower, line.time_s, line.kv_blocks, "in use", "#5f7a3a")
    peak = int(line.kv_blocks.max())
    if kv_capacity is not None and kv_capacity <= 3 * peak:
        lower.axhline(kv_capacity, color="black", linewidth=0.8, linestyle="--", label="pool")
    lower.set_ylabel("KV blocks")
    lower.set_xlabel("simulated time [s]")
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        axes.margins(x=0)
        axes.yaxis.get_major_locator().set_params(integer=True)
        # above the axes: inside it could hide the curves
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, ncols=2, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def save_plot(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a picture in one piece. The name's ending gives its kind: png, svg, pdf.

    Raises ``OutputError`` for another ending, or if the file cannot be written.
    """
    check_format(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=_ending(path), dpi=150)
    write_bytes(path, buffer.getvalue())


def check_format(path: str | os.PathLike[str]) -> None:
    """Raise ``OutputError`` unless the name's ending is a kind of picture."""
    if _ending(path) not in _FORMATS:
        raise OutputError(f"{path}: not a kind of picture: end it with .{', .'.join(_FORMATS)}")


def require_matplotlib() -> None:
    """Raise ``MissingExtraError`` if matplotlib is not installed."""
    figure_class()


def figure_class() -> Any:
    """Return matplotlib's ``Figure``. Raises ``MissingExtraError`` if it is not installed."""
    try:
        from matplotlib.figure import Figure  # no pyplot: no windows, no global state
    except ImportError as exc:
        raise MissingExtraError("pictures need matplotlib: pip install 'pysimbind[plot]'") from exc
    return Figure


def _ending(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.lower().removeprefix(".")


def _area(axes: Any, time_s: Any, values: Any, label: str, color: str) -> None:
    axes.fill_between(time_s, values, step="post", color=color, alpha=0.25, linewidth=0)
    axes.plot(time_s, values, drawstyle="steps-post", color=color, linewidth=1, label=label)


def _thinned(line: Timeline) -> Timeline:
    """Keep the largest value in each of ``_MOST_POINTS`` equal spans of time."""
    if line.time_s.size <= _MOST_POINTS:
        return line
    spans = np.linspace(line.time_s[0], line.time_s[-1], _MOST_POINTS, endpoint=False)
    first = np.unique(np.searchsorted(line.time_s, spans))

    def largest(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        most: npt.NDArray[np.int64] = np.maximum.reduceat(values, first)
        return most

    return Timeline(
        line.time_s[first], largest(line.running), largest(line.waiting), largest(line.kv_blocks)
    )
