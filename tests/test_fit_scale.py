"""How fits grow with the data, how fast their loss falls, and the picture of that.

Oracles: the noiseless run, which a fit of the noisy one must predict; the bars set for exp1_30rr;
arithmetic. Times have slack, since tests share the machine: evaluations are what is exact.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fits
from benchmarks.fits import AIM_S2, ORIGINAL, Curve, draw, fits_table, follow, original_trials
from benchmarks.workloads import noisy_run
from pysimbind.fit import fit
from pysimbind.formats import load_experiment

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", ["quadratic15", "small", "extended"])
def test_the_default_fit_of_3000_requests_is_quick(model: str) -> None:
    """0.1 s of CPU time where half a second is allowed; here three times that."""
    noisy, truth = noisy_run(3000)
    begin_s = time.process_time()
    result = fit(noisy, model=model)
    assert time.process_time() - begin_s < 1.5
    assert result.nfev < 500
    assert result.predict(noisy).e2e.mean() == pytest.approx(truth.e2e.mean(), rel=0.01)


def test_evaluations_do_not_grow_with_the_data() -> None:
    few, many = (fit(noisy_run(requests)[0]).nfev for requests in (300, 15_000))
    assert many < 3 * few


@pytest.mark.parametrize(("method", "evaluations"), [("lsq", 50), ("auto", 50), ("cmaes", 15_000)])
def test_the_loss_of_exp1_falls_fast(method: str, evaluations: int) -> None:
    result = fit("exp1_30rr", method, loss="original")
    assert next(count for count, loss in result.history if loss < AIM_S2) < evaluations


def test_a_curve_is_what_the_fit_went_through() -> None:
    curve = follow("lsq")
    result = fit("exp1_30rr", "lsq", loss="original")
    assert curve.losses[-1] == result.fun
    assert curve.evaluations[-1] == result.nfev
    assert (np.diff(curve.losses) <= 0).all()
    assert (np.diff(curve.seconds) > 0).all()
    assert curve.seconds[-1] < curve.whole_s
    assert curve.reached is not None
    assert curve.losses[curve.reached] < AIM_S2 <= curve.losses[curve.reached - 1]


def test_original_trials_are_far_from_the_baseline() -> None:
    """As the comparisons of a fit have it."""
    curve = original_trials()
    assert len(curve.losses) == len(load_experiment("exp1_30rr").trials.x) == 105
    rows = {row.name: row.loss for row in fit("exp1_30rr", "lsq", loss="original").comparisons}
    assert curve.losses[-1] == pytest.approx(rows["original best"])
    assert curve.seconds[0] == pytest.approx(0.0834)
    assert curve.reached is None


CURVES = [
    Curve("lsq", (0.001, 0.002, 0.004), (1, 18, 30), (0.5, 1.1e-4, 9.123e-5), 0.0471),
    Curve("cmaes", (0.1, 0.2), (24, 1000), (30_123.0, 2e-4), 1.5),
    Curve(ORIGINAL, (0.0834,), (1,), (30_123.0,), 0.0834),
]


def test_table() -> None:
    assert fits_table(CURVES)[2:] == [
        "| `lsq` | 2 ms | 18 | 9.12e-5 | 30 | 47.1 ms |",
        "| `cmaes` | never | never | 2.00e-4 | 1,000 | 1.5 s |",
        "| original's trials | never | never | 30,100 | 1 | 83.4 ms |",
    ]
    assert fits_table(CURVES)[0] in fits.PAGE.read_text("utf-8").splitlines()


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the extra 'plot'")
    curves = fits.measure(rounds=1, max_evals=6)
    assert [curve.name for curve in curves][-1] == ORIGINAL
    assert all(curve.evaluations[-1] == 6 for curve in curves[:-1])
    draw(curves, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
