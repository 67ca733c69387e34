"""The gate on bad data: each check fires on planted damage, and on nothing else.

Oracles: simulated runs, in which nothing is wrong, and the damage that is then done to them; runs
of real servers, where known to be clean or saturated.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind import (
    Experiment,
    ExperimentError,
    ServerConfig,
    Simulator,
    Workload,
    load_experiment,
)
from pysimbind.checks import CHECKS, SEVERITIES, CheckReport, Finding, check_experiment
from pysimbind.errors import DataError, InputError

from .facts import facts, tells

REQUESTS = 200
CONFIG = ServerConfig(enable_prefix_caching=False)


@functools.cache
def clean(rate: float = 5.0) -> Experiment:
    """Return a simulated run of mixed lengths at a load that the server bears."""
    rng = np.random.default_rng(11)
    arrival_s = np.cumsum(rng.exponential(1 / rate, REQUESTS))
    prompts, outputs = rng.integers(50, 1000, REQUESTS), rng.integers(20, 150, REQUESTS)
    outputs[::10] = 1
    workload = Workload(arrival_s - arrival_s[0], prompts, outputs)
    with Simulator(workload, CONFIG) as simulator:
        run = simulator.run(load_experiment("exp1_30rr").baseline)
    return Experiment("clean", workload, CONFIG, run.ttft, run.e2e)


def damaged(requests: Any = (), /, **changes: Any) -> Experiment:
    """Return the clean run with values put into its arrays, those of workloads included."""
    experiment = clean()
    workload = experiment.workload
    parts = {
        name: np.array(getattr(workload, name))
        for name in ("arrival_s", "input_tokens", "output_tokens")
    }
    parts |= {name: np.array(getattr(experiment, name)) for name in ("ttft", "e2e")}
    for name in parts.keys() & changes.keys():
        parts[name][requests] = changes.pop(name)
    changes.setdefault("workload", Workload(*list(parts.values())[:3], strict=False))
    return dataclasses.replace(experiment, ttft=parts["ttft"], e2e=parts["e2e"], **changes)


def only(experiment: Experiment, name: str, **options: Any) -> tuple[CheckReport, Finding]:
    """Return the report, which must have one finding, of this name."""
    report = check_experiment(experiment, **options)
    assert [finding.name for finding in report.findings] == [name], str(report)
    return report, report.findings[0]


def test_a_clean_run_is_as_it_was() -> None:
    report = check_experiment(clean())
    assert report.findings == ()
    assert report.ok
    assert not report.saturated
    assert report.experiment is clean()
    assert str(report) == "clean: no findings"
    report.refuse()


def test_checks_are_named_and_explained() -> None:
    for name, check in CHECKS.items():
        assert check.__name__ == name
        assert check.__doc__
        severities = [severity for severity in SEVERITIES if severity in check.__doc__.lower()]
        assert severities, name


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (1000, "time per output token .. milliseconds .. seconds"),
        (1 / 1000, "time per output token .. another unit .. seconds"),
    ],
)
def test_units(scale: float, message: str) -> None:
    experiment = clean()
    wrong = dataclasses.replace(
        experiment,
        workload=Workload(
            experiment.workload.arrival_s * scale,
            experiment.workload.input_tokens,
            experiment.workload.output_tokens,
        ),
        ttft=experiment.ttft * scale,
        e2e=experiment.e2e * scale,
    )
    report = check_experiment(wrong)
    assert (report.findings[0].name, report.findings[0].severity) == ("units", "error")
    with pytest.raises(DataError, match=facts(message)):
        report.refuse()


def test_units_of_one_token_runs() -> None:
    """Without times per token, TTFT and E2E tell."""
    workload = Workload(np.arange(60.0), np.full(60, 10), np.ones(60, dtype=int))
    for latency, said in ((5000.0, "TTFT .. 5000 s"), (2e-5, "E2E .. 2e-05 s")):
        values = np.full(60, latency)
        report = check_experiment(Experiment("x", workload, CONFIG, values, values))
        assert tells(report.findings[0].message, said)


def test_failed() -> None:
    experiment = damaged([3, 70, 71], ttft=[np.nan, 0.0, np.nan], e2e=[np.nan, 2.0, np.nan])
    report, finding = only(experiment, "failed")
    assert finding.severity == "warning"
    assert finding.requests.tolist() == [3, 70, 71]
    assert tells(str(report), "3 of 200 .. 1 .. 0")
    assert "[3, 70-71]" in str(report)
    assert np.isnan(report.experiment.ttft[70])
    assert np.isnan(report.experiment.e2e[70])
    assert report.experiment.workload is experiment.workload
    kept = np.setdiff1d(np.arange(REQUESTS), finding.requests)
    assert np.array_equal(report.experiment.e2e[kept], experiment.e2e[kept])


def test_many_failed() -> None:
    _, finding = only(damaged(slice(0, 21), ttft=np.nan, e2e=np.nan), "failed")
    assert finding.severity == "error"


def test_incomplete() -> None:
    report, finding = only(damaged([5, 9], e2e=np.nan), "incomplete")
    assert finding.severity == "warning"
    assert tells(finding.message, "2 of 200 .. TTFT .. E2E")
    assert not np.isnan(report.experiment.ttft[[5, 9]]).any()
    report, finding = only(damaged(slice(None), ttft=np.nan), "incomplete")
    assert (finding.severity, finding.message) == ("note", "no TTFT was measured")
    assert report.ok


def test_ttft_exceeds_e2e() -> None:
    experiment = damaged([8, 30], ttft=clean().e2e[[8, 30]] + [0.5, 0.0009])
    report, finding = only(experiment, "ttft_exceeds_e2e")
    assert finding.requests.tolist() == [8]  # the other is within the clock's resolution
    assert tells(finding.message, "0.5 s")
    assert np.isnan([report.experiment.ttft[8], report.experiment.e2e[8]]).all()
    assert finding.masked == ("ttft", "e2e")


def test_same_arrivals() -> None:
    report = check_experiment(damaged(slice(None), arrival_s=0.0))
    assert "same_arrivals" in [finding.name for finding in report.findings]
    assert not report.saturated
    workload = Workload(
        np.zeros(REQUESTS),
        clean().workload.input_tokens,
        clean().workload.output_tokens,
        max_concurrency=4,
    )
    report = check_experiment(damaged(workload=workload))
    assert "same_arrivals" not in [finding.name for finding in report.findings]


def test_unsorted_arrivals() -> None:
    swapped = clean().workload.arrival_s[[101, 100]]
    report, finding = only(damaged([100, 101], arrival_s=swapped), "unsorted_arrivals")
    assert finding.requests.tolist() == [101]
    assert report.ok


def test_send_lag() -> None:
    intended = clean().workload.arrival_s + 3.0  # another clock's zero
    on_time = {"intended_arrival_s": intended.tolist()}
    assert check_experiment(damaged(provenance=on_time)).findings == ()
    intended[50:] -= np.linspace(0, 1, REQUESTS - 50)
    late = {"intended_arrival_s": intended.tolist()}
    _, finding = only(damaged(provenance=late), "send_lag")
    assert finding.severity == "warning"
    assert tells(finding.message, "1 s")
    assert finding.requests.min() > 50
    assert finding.requests.max() == REQUESTS - 1
    _, held = only(damaged(provenance=late | {"max_concurrency": 5}), "send_lag")
    assert held.severity == "note"
    assert tells(held.message, "client")


def test_one_token_that_went_on() -> None:
    report, finding = only(damaged([20], e2e=clean().e2e[20] + 2), "token_count_mismatch")
    assert finding.requests.tolist() == [20]
    assert np.isnan(report.experiment.e2e[20])
    assert not np.isnan(report.experiment.ttft[20])


def test_all_tokens_at_once() -> None:
    _, finding = only(damaged([21, 33], ttft=clean().e2e[[21, 33]]), "token_count_mismatch")
    assert finding.requests.tolist() == [21, 33]
    assert tells(finding.message, "2 .. at once")


def test_stopped_early() -> None:
    tokens = clean().workload.output_tokens
    some = np.flatnonzero(tokens >= 40)[[10, 60, 90]]
    _, finding = only(damaged(some, output_tokens=2 * tokens[some]), "token_count_mismatch")
    assert finding.requests.tolist() == some.tolist()
    assert tells(finding.message, "3 .. last token")


def test_quick_tokens_after_the_last_prefill_are_no_early_end() -> None:
    """Nothing slows a request that decodes while the run drains, so it is quick for its count."""
    run = clean()
    last = int(np.nanargmax(run.ttft + run.workload.arrival_s))
    e2e, tokens = run.e2e[last], int(run.workload.output_tokens[last])
    quick = run.ttft[last] + (e2e - run.ttft[last]) / 3
    assert tokens >= 16
    assert check_experiment(damaged([last], e2e=quick)).ok


def test_more_tokens_than_counted() -> None:
    tokens = clean().workload.output_tokens
    some = np.flatnonzero(tokens >= 60)[[5, 50]]
    report, finding = only(damaged(some, output_tokens=tokens[some] // 3), "late_tokens")
    assert finding.requests.tolist() == some.tolist()
    assert finding.severity == "note"
    assert report.experiment.e2e is not None
    assert np.array_equal(report.experiment.e2e, clean().e2e)
    many = np.flatnonzero(tokens >= 60)[::12]
    _, finding = only(damaged(many, output_tokens=tokens[many] // 3), "late_tokens")
    assert finding.severity == "warning"


def test_token_counts_of_other_requests() -> None:
    tokens = clean().workload.output_tokens
    mixed = np.random.default_rng(2).permutation(tokens)
    report = check_experiment(damaged(slice(None), output_tokens=mixed))
    found = {finding.name: finding for finding in report.findings}
    assert found["token_counts_implausible"].severity == "error"
    assert not report.ok


def test_server_token_counts() -> None:
    counts = clean().workload.input_tokens.astype(float)
    same = {"server_input_tokens": [None, *counts[1:]]}
    assert check_experiment(damaged(provenance=same)).findings == ()
    template = {"server_input_tokens": (counts + 5).tolist()}
    _, finding = only(damaged(provenance=template), "server_token_counts")
    assert finding.severity == "note"
    other = {"server_input_tokens": (counts * 1.2).round().tolist()}
    _, finding = only(damaged(provenance=other), "server_token_counts")
    assert finding.severity == "warning"


def test_token_counts_guessed() -> None:
    report, finding = only(load_experiment("exp1_30rr"), "token_counts_guessed")
    assert report.ok
    assert tells(finding.message, "50 of 100 .. output lengths .. 79 .. prompt lengths")


def test_cold_start_in_ttft() -> None:
    experiment = damaged([0], ttft=clean().ttft[0] + 0.3, e2e=clean().e2e[0] + 0.3)
    report, finding = only(experiment, "cold_start")
    assert 0 in finding.requests
    # also those that were sent before its first token
    waited = np.flatnonzero(clean().workload.arrival_s < experiment.ttft[0])
    assert finding.requests.tolist() == waited.tolist()
    assert np.isnan(report.experiment.ttft[waited]).all()
    assert np.isnan(report.experiment.e2e[waited]).all()
    assert len(report.experiment.workload) == REQUESTS


def test_cold_start_in_time_per_token_is_capped() -> None:
    slow = np.arange(12)
    e2e = clean().ttft[slow] + 59 * 0.015  # seconds a token; the others take about 0.008
    report = check_experiment(damaged(slow, e2e=e2e, output_tokens=60))
    finding = {each.name: each for each in report.findings}["cold_start"]
    assert finding.severity == "warning"
    assert finding.requests.tolist() == list(range(10))  # 5 % of 200
    assert tells(finding.message, "more")


def test_a_slow_request_in_the_middle_is_no_cold_start() -> None:
    experiment = damaged([90], ttft=clean().ttft[90] + 0.3, e2e=clean().e2e[90] + 0.3)
    assert check_experiment(experiment).findings == ()


def test_first_requests_that_miss_a_shared_prefix_are_not_cold() -> None:
    workload = clean().workload
    ids = [np.zeros(n, dtype=int) for n in workload.input_tokens]
    shared = Workload(
        workload.arrival_s, workload.input_tokens, workload.output_tokens, prompt_token_ids=ids
    )
    slow = {"ttft": clean().ttft[0] + 0.3, "e2e": clean().e2e[0] + 0.3}
    for caching, names in ((True, []), (False, ["cold_start"])):
        config = CONFIG.replace(enable_prefix_caching=caching)
        report = check_experiment(damaged([0], workload=shared, config=config, **slow))
        assert [finding.name for finding in report.findings] == names


def test_saturation() -> None:
    report, finding = only(clean(rate=200.0), "saturation")
    assert report.saturated
    assert not report.ok
    assert finding.requests.tolist() == list(range(134, 200))
    assert report.experiment is clean(rate=200.0)


def test_prefix_hits() -> None:
    hits = np.zeros(REQUESTS)
    assert check_experiment(damaged(provenance={"cached_tokens": hits.tolist()})).findings == ()
    hits[[4, 6]] = 16
    _, finding = only(damaged(provenance={"cached_tokens": hits.tolist()}), "prefix_hits")
    assert (finding.severity, finding.requests.tolist()) == ("note", [4, 6])
    hits[:] = 48
    found = {"cached_tokens": hits.tolist()}
    _, finding = only(damaged(provenance=found), "prefix_hits")
    assert finding.severity == "warning"
    assert tells(finding.message, "prefix caching")
    caching = damaged(provenance=found, config=ServerConfig())
    _, finding = only(caching, "prefix_hits")
    assert tells(finding.message, "token ids")


def test_prefix_hits_suspected() -> None:
    """Long prompts answered as fast as short ones, by a server of slow prefills."""
    prompts = clean().workload.input_tokens
    extra_s = 1e-4 * prompts
    slow = damaged(slice(None), ttft=clean().ttft + extra_s, e2e=clean().e2e + extra_s)
    assert check_experiment(slow).findings == ()
    long = np.flatnonzero(prompts > 900)[[1, 5, 9]]
    ttft = np.array(slow.ttft)
    ttft[long] = ttft.min()
    experiment = dataclasses.replace(slow, ttft=ttft)
    _, finding = only(experiment, "prefix_hits_suspected")
    assert finding.severity == "note"
    assert finding.requests.tolist() == long.tolist()
    counted = dataclasses.replace(experiment, provenance={"cached_tokens": [0] * REQUESTS})
    assert check_experiment(counted).findings == ()


def test_too_few_requests() -> None:
    few = np.arange(40, REQUESTS)
    experiment = damaged(few, ttft=np.nan, e2e=np.nan)
    report = check_experiment(experiment)
    assert report.findings[-1].name == "too_few_requests"
    assert report.findings[-1].severity == "warning"  # 40 for 16 parameters
    assert check_experiment(experiment, parameters=41).findings[-1].severity == "error"
    names = [finding.name for finding in check_experiment(experiment, parameters=5).findings]
    assert names == ["failed"]


@pytest.mark.parametrize("key", ["intended_arrival_s", "cached_tokens", "server_input_tokens"])
@pytest.mark.parametrize("value", [[1, 2], "many", [["a"]] * REQUESTS, 3])
def test_bad_provenance(key: str, value: object) -> None:
    with pytest.raises(ExperimentError, match=facts(f"clean .. provenance.{key} .. 200")):
        check_experiment(damaged(provenance={key: value}))


def test_nothing_measured() -> None:
    report = check_experiment(damaged(slice(None), ttft=np.nan, e2e=np.nan))
    assert [finding.name for finding in report.findings] == ["failed", "too_few_requests"]


def test_refusal_is_one_line_with_the_worst_first() -> None:
    experiment = damaged(slice(0, 190), ttft=np.nan, e2e=np.nan)
    experiment = dataclasses.replace(experiment, output_source="estimated")
    report = check_experiment(experiment)
    with pytest.raises(DataError) as caught:
        report.refuse()
    message = str(caught.value)
    assert message.startswith("clean: failed (error): ")
    assert tells(message, "190 of 200")
    assert "token_counts_guessed" not in message  # a note
    assert "\n" not in message
    assert isinstance(caught.value, InputError)


def test_the_report_as_json() -> None:
    report = check_experiment(damaged([3, 4], ttft=0.0))
    obj = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert (obj["experiment"], obj["ok"], obj["saturated"]) == ("clean", False, False)
    assert obj["findings"][0]["requests"] == [3, 4]
    assert obj["findings"][0]["masked"] == ["ttft", "e2e"]
    assert repr(report) == "<CheckReport of 'clean': warning 1>"


@pytest.mark.parametrize("name", ["vllm-cpu-sync-r3", "vllm-cpu-sync-r9"])
def test_bundled_measurements_are_clean(name: str) -> None:
    assert check_experiment(load_experiment(name)).findings == ()


def real(path: Path, outputs: str = "output_tokens") -> Experiment:
    """Read a normalised trace of a real server."""
    with path.open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["arrival_s"]))
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    floats = {key: np.array(columns[key], dtype=float) for key in ("arrival_s", "ttft_s", "e2e_s")}
    provenance = {}
    if "intended_arrival_s" in columns:
        provenance["intended_arrival_s"] = list(map(float, columns["intended_arrival_s"]))
    prompts, tokens = (
        [int(float(n or 0)) for n in columns[key]] for key in ("input_tokens", outputs)
    )
    return Experiment(
        path.stem,
        Workload(floats["arrival_s"], prompts, tokens),
        ServerConfig(),
        floats["ttft_s"],
        floats["e2e_s"],
        provenance=provenance,
    )


SATURATED = ("llmservingsim_rtx4090_llama31-8b", "llmservingsim_rtxpro6000_llama31-8b")


def test_real_servers(shared: Path) -> None:
    """Warnings for the two runs that saturate their server, and for no other."""
    for path in sorted((shared / "data" / "real").glob("*.csv")):
        report = check_experiment(real(path))
        bad = [finding.name for finding in report.findings if finding.severity != "note"]
        assert bad == (["saturation"] if path.stem in SATURATED else []), str(report)
        assert report.saturated == (path.stem in SATURATED)


def test_real_cpu_servers(recorded: Path) -> None:
    for path in sorted((recorded / "vllm_cpu").glob("*.meta.json")):
        run = path.with_name(path.name.replace(".meta", ""))
        args = json.loads(path.read_text("utf-8"))["server_args"]
        report = check_experiment(load_experiment(run, ServerConfig.from_vllm_args(args)))
        assert report.ok, str(report)
        assert not report.saturated


def test_counts_that_a_client_made_up_again(shared: Path) -> None:
    """The counts recorded by re-tokenising, of which their own notes say that they are wrong."""
    path = shared / "data/real/training_20260217-155451-llama-2-7b-tp1-codegen.csv"
    report = check_experiment(real(path, "recorded_output_tokens"))
    names = [finding.name for finding in report.findings if finding.severity != "note"]
    assert names == ["token_count_mismatch", "late_tokens"]
