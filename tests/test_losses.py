"""Composed losses: values, grammar, residuals.

Oracles: naive Python loops written from the definitions; ``numpy.quantile``; scipy's own
``least_squares`` cost for the robust functions; central differences for derivatives.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from pysimbind import FitError, Loss
from pysimbind.losses import LOSSES, STATISTICS, TARGETS, Measured, Term, find_loss

from .facts import facts

REQUESTS = 11


def made_up(seed: int = 3) -> tuple[Measured, np.ndarray, np.ndarray]:
    """Return what was measured, with gaps, and two simulations [2, R]."""
    rng = np.random.default_rng(seed)
    ttft = rng.uniform(0.01, 0.1, (3, REQUESTS))
    e2e = ttft + rng.uniform(0.1, 3, (3, REQUESTS))
    tokens = rng.integers(2, 9, REQUESTS)
    measured = Measured(np.sort(rng.uniform(0, 2, REQUESTS)), ttft[0], e2e[0], tokens)
    tokens[4] = 1
    measured.ttft[2] = measured.e2e[[2, 5]] = np.nan
    return measured, ttft[1:], e2e[1:]


def naive(loss: Loss, measured: Measured, ttft: list[float], e2e: list[float]) -> float:
    """Compute a loss of per-request and mean terms in the plainest way."""
    earliest = sorted(range(len(ttft)), key=lambda i: measured.arrival_s[i])
    total = 0.0
    for term in loss.terms:
        pairs = []
        for i in earliest[loss.warmup :]:
            first, last = float(measured.ttft[i]), float(measured.e2e[i])
            after = int(measured.output_tokens[i]) - 1
            if term.target == "tpot" and after:
                pairs.append(((e2e[i] - ttft[i]) / after, (last - first) / after))
            elif term.target != "tpot":
                pairs.append((ttft[i], first) if term.target == "ttft" else (e2e[i], last))
        pairs = [(s, m) for s, m in pairs if not math.isnan(m)]
        if term.statistic == "mean":
            pairs = [tuple(statistics.fmean(column) for column in zip(*pairs, strict=True))]
        elif term.statistic:
            quantile = STATISTICS[term.statistic]
            pairs = [tuple(float(np.quantile(c, quantile)) for c in zip(*pairs, strict=True))]
        counted = [rho(loss, error(loss, s, m)) for s, m in pairs]
        total += term.weight * statistics.fmean(counted)
    return total / sum(term.weight for term in loss.terms)


def error(loss: Loss, simulated: float, measured: float) -> float:
    if loss.errors == "absolute":
        return simulated - measured
    return simulated / measured - 1 if loss.errors == "relative" else math.log(simulated / measured)


def rho(loss: Loss, e: float) -> float:
    """Let scipy count one error: its cost is half of rho."""
    kind = {"squared": "linear"}.get(loss.rho, loss.rho)
    scale = loss.scale or 1.0
    return 2 * least_squares(lambda x: [e], [0.0], loss=kind, f_scale=scale, max_nfev=1).cost


SPECS = [
    "absolute,ttft,e2e",
    "relative,ttft:1,e2e:5,soft_l1:0.05",
    "log,ttft:2,tpot:3,huber:0.3",
    "absolute,e2e.mean,ttft.mean:0.5,tpot.mean",
    "relative,e2e.p50,e2e.p90:2,e2e.p99:3,ttft.p99",
    "log,tpot.p90,e2e,soft_l1:0.2,warmup:3",
    "relative,tpot,ttft.p50,warmup:5",
]


@pytest.mark.parametrize("text", SPECS)
def test_a_loss_is_what_its_definition_says(text: str) -> None:
    measured, ttft, e2e = made_up()
    loss = Loss.parse(text)
    got = loss(measured, ttft, e2e)
    assert got.shape == (2,)
    for i in range(2):
        expected = naive(loss, measured, ttft[i].tolist(), e2e[i].tolist())
        assert got[i] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("text", [*SPECS, *LOSSES, "relative,e2e,ttft,unpaired"])
def test_the_squares_of_the_residuals_sum_up_to_the_loss(text: str) -> None:
    measured, ttft, e2e = made_up()
    misfit = Loss.parse(text).against(measured)
    for i, value in enumerate(misfit.values(ttft, e2e)):
        loss, r = misfit.residuals(ttft[i], e2e[i])
        assert loss == value
        assert r @ r == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", [*SPECS, *LOSSES, "relative,e2e,ttft,unpaired"])
def test_derivatives_of_residuals_are_those_of_differences(text: str) -> None:
    measured, ttft, e2e = made_up()
    misfit = Loss.parse(text).against(measured)
    rng = np.random.default_rng(5)
    slopes = rng.normal(size=(2, REQUESTS, 4)) * 0.01  # of ttft and e2e by four parameters

    def at(change: np.ndarray) -> np.ndarray:
        return misfit.residuals(ttft[0] + slopes[0] @ change, e2e[0] + slopes[1] @ change)[1]

    jac = misfit.jacobian(ttft[0], e2e[0], *slopes)
    for j, step in enumerate(1e-5 * np.eye(4)):
        difference = (at(step) - at(-step)) / 2e-5
        np.testing.assert_allclose(jac[:, j], difference, rtol=1e-5, atol=1e-7)


def test_the_signs_of_residuals_are_those_of_the_errors() -> None:
    measured, ttft, _ = made_up()
    for rho_word in ("squared", "soft_l1:0.05", "huber:0.05"):
        _, r = Loss.parse(f"ttft,{rho_word}").against(measured).residuals(ttft[0], ttft[0])
        known = ~np.isnan(measured.ttft)
        assert (np.sign(r) == np.sign(ttft[0] - measured.ttft)[known]).all()


def test_zero_latencies_have_no_relative_error() -> None:
    measured, ttft, e2e = made_up()
    measured.ttft[0] = 0.0
    for kind in ("relative", "log"):
        expected = naive(Loss.parse(f"{kind},ttft,warmup:1"), measured, ttft[0], e2e[0])
        assert Loss.parse(f"{kind},ttft")(measured, ttft, e2e)[0] == pytest.approx(expected)


def test_what_is_left_out_is_the_warm_up_in_order_of_arrival() -> None:
    measured, ttft, e2e = made_up()
    order = np.random.default_rng(1).permutation(REQUESTS)
    shuffled = Measured(*(np.asarray(each)[order] for each in measured))
    loss = Loss.parse("absolute,ttft,warmup:4")
    assert loss(shuffled, ttft[:, order], e2e[:, order])[0] == pytest.approx(
        loss(measured, ttft, e2e)[0], rel=1e-12
    )


def test_a_log_of_nothing_and_an_overflow_are_infinite() -> None:
    measured, ttft, e2e = made_up()
    ttft[0, 0] = 0.0
    e2e[1, 0] = 1e200
    for text, i in (("log,ttft", 0), ("absolute,e2e", 1)):
        misfit = Loss.parse(text).against(measured)
        assert np.isinf(misfit.values(ttft, e2e)).tolist() == [i == 0, i == 1]
        loss, r = misfit.residuals(ttft[i], e2e[i])
        assert loss == np.inf
        assert np.isinf(r).all()


# --- the grammar ---------------------------------------------------------------------------------

terms = st.builds(
    Term,
    st.sampled_from(TARGETS),
    st.sampled_from(["", *STATISTICS]),
    st.floats(1e-9, 1e9) | st.integers(1, 9),
)
losses = st.builds(
    lambda terms, errors, rho, scale, warmup, unpaired: Loss(
        tuple({term.label: term for term in terms}.values()),
        errors,
        rho,
        None if rho == "squared" else scale,
        warmup,
        unpaired,
    ),
    st.lists(terms, min_size=1),
    st.sampled_from(["absolute", "relative", "log"]),
    st.sampled_from(["squared", "soft_l1", "huber"]),
    st.floats(1e-9, 1e9),
    st.integers(0, 1000),
    st.booleans(),
)


@given(loss=losses)
def test_a_loss_is_made_again_from_its_name(loss: Loss) -> None:
    assert Loss.parse(loss.name) == loss
    assert find_loss(loss) is loss
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert hash(Loss.parse(loss.name)) == hash(loss)


@pytest.mark.parametrize("name", LOSSES)
def test_names_stand_for_losses(name: str) -> None:
    assert LOSSES[name].name == name
    assert find_loss(name) is LOSSES[name]
    assert dataclasses.replace(LOSSES[name], warmup=1).name != name


def test_what_the_names_stand_for() -> None:
    assert Loss.parse("e2e , absolute, ttft") == LOSSES["original"]
    assert Loss.parse("absolute,ttft,e2e,unpaired") == LOSSES["original-unpaired"]
    assert Loss.parse("soft_l1:0.05,e2e:5,ttft:1") == LOSSES["recipe"]
    units = {Loss.parse(f"{kind},e2e").unit for kind in ("absolute", "relative", "log")}
    assert units == {"s^2", "rel^2", "log^2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("orignal", "'orignal' .. 'original'"),
        ("relativ,e2e", "'relativ' .. 'relative'"),
        ("e2e,soft-l1:0.05", "'soft-l1:0.05' .. 'soft_l1'"),
        ("e2e.p95", "e2e .. 'p95' .. 'p99'"),
        ("relative:2,e2e", "'relative:2'"),
        ("e2e,soft_l1", "'soft_l1' .. number"),
        ("e2e:x", "'e2e:x' .. number"),
        ("e2e:0", "e2e .. 0"),
        ("e2e:nan", "e2e .. 0 .. nan"),
        ("e2e,huber:-1", "huber .. 0 .. -1"),
        ("e2e,warmup:-1", "warmup .. 0 .. -1"),
        ("e2e,warmup:2.5", "warmup .. 0 .. 2.5"),
        ("e2e,e2e:3", "'e2e' .. twice"),
        ("e2e,relative,log", "'log'"),
        ("e2e,huber:1,soft_l1:1", "'soft_l1:1'"),
        ("relative,warmup:3", "nothing to compare"),
        ("ttft,", "word ''"),
        ("", "loss ''"),
    ],
)
def test_texts_that_are_no_loss(text: str, message: str) -> None:
    with pytest.raises(FitError, match=facts(message)) as caught:
        Loss.parse(text)
    assert "\n" not in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"errors": "relativ"}, "'relativ' .. 'relative'"),
        ({"rho": "hubr", "scale": 1}, "'hubr' .. 'huber'"),
        ({"rho": "huber"}, "huber .. 0 .. None"),
        ({"scale": 0.1}, "squared .. scale"),
        ({"warmup": True}, "warmup"),
    ],
)
def test_settings_that_make_no_loss(settings: dict[str, object], message: str) -> None:
    with pytest.raises(FitError, match=facts(message)):
        Loss((Term("e2e"),), **settings)


def test_what_cannot_be_compared_is_refused() -> None:
    measured, _, _ = made_up()
    with pytest.raises(FitError, match=facts("ttft .. 11")):
        Loss.parse("ttft,warmup:11").against(measured)
    with pytest.raises(FitError, match=facts("TPOT .. output tokens")):
        Loss.parse("tpot").against(Measured(*measured[:3]))
    with pytest.raises(FitError, match=facts("Loss .. int")):
        find_loss(3)
