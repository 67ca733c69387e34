"""Pictures of a run.

Oracles: the numbers of the run's trace, read back from the drawn lines, and the files' signatures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from pysimbind.config import ServerConfig
from pysimbind.draw import plots
from pysimbind.errors import InputError, MissingExtraError, OutputError
from pysimbind.parameters import NAMES
from pysimbind.results import SimResult
from pysimbind.simulator import Simulator
from pysimbind.workload import Workload

from .facts import facts

ONE_SECOND_STEPS = dict.fromkeys(NAMES, 0.0) | {"intercept": 1.0}


def run(requests: int = 3, trace: bool = True) -> SimResult:
    workload = Workload(
        np.arange(requests) * 2.0, np.full(requests, 20), 1 + np.arange(requests) % 7
    )
    config = ServerConfig(max_num_seqs=2, num_gpu_blocks=8)
    with Simulator(workload, config) as simulator:
        return simulator.run(ONE_SECOND_STEPS, trace=trace)


def test_what_is_drawn_is_what_ran() -> None:
    pytest.importorskip("matplotlib")
    result = run()
    assert result.trace is not None
    upper, lower = plots.plot_run(result, title="three requests", kv_capacity=4).axes
    running, waiting = upper.get_lines()
    used, pool = lower.get_lines()
    assert upper.get_title(loc="left") == "three requests"
    for line, values in (
        (running, result.trace.running),
        (waiting, result.trace.waiting),
        (used, result.trace.kv_blocks),
    ):
        drawn = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for at, value in zip(result.trace.composed_s, values, strict=True):
            assert drawn[at] == value
        assert line.get_ydata()[-1] == 0
    assert pool.get_ydata()[0] == 4


def test_a_pool_far_from_full_is_left_out() -> None:
    pytest.importorskip("matplotlib")
    (used,) = plots.plot_run(run(), kv_capacity=10_000).axes[1].get_lines()
    assert max(used.get_ydata()) == run().peak_kv_blocks


def test_long_runs_keep_their_peaks() -> None:
    pytest.importorskip("matplotlib")
    result = run(3000)
    assert result.trace is not None
    assert len(result.trace) > 5000
    running, waiting = plots.plot_run(result).axes[0].get_lines()
    assert len(running.get_xdata()) <= 2001
    assert max(running.get_ydata()) == result.trace.running.max()
    assert max(waiting.get_ydata()) == result.trace.waiting.max()


@pytest.mark.parametrize(
    ("ending", "signature"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")]
)
def test_files(tmp_path: Path, ending: str, signature: bytes) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"run.{ending}"
    plots.save_plot(plots.plot_run(run()), path)
    assert path.read_bytes().startswith(signature)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run.gif", "run"):
        with pytest.raises(OutputError, match=facts(".png")):
            plots.check_format(tmp_path / name)
    with pytest.raises(InputError, match=facts("trace=True")):
        plots.plot_run(run(trace=False))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=facts("'pysimbind[plot]'")):
        plots.plot_run(run())
