"""Experiments: the bundled ones, and what an experiment refuses.

Oracles: the recorded data that the bundled experiments were made from, the facts that their notes
state, and hand-made experiments.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.config import ServerConfig
from pysimbind.errors import ExperimentError, OutputError
from pysimbind.experiment import Experiment, Trials
from pysimbind.formats import experiment_names, load_experiment
from pysimbind.parameters import NAMES, Parameters, Space
from pysimbind.workload import Workload

from .facts import facts, tells

CAVEAT = "50 of 100 output lengths estimated, 79 prompt lengths unknown"


def small(**changes: Any) -> Experiment:
    values: dict[str, Any] = {
        "name": "small",
        "workload": Workload([0.0, 0.25, 0.5], [3, 2, 1], [1, 5, 9]),
        "config": ServerConfig(block_size=32),
        "ttft": [0.1, float("nan"), 0.3],
        "e2e": [0.1, float("nan"), 1.5],
    }
    return Experiment(**{**values, **changes})


def full() -> Experiment:
    """Return an experiment in which every field says something."""
    ids = {
        "prompt_token_ids": [[1, 2, 3], [1, 2], [9]],
        "output_token_ids": [[4], [0] * 5, [7] * 9],
    }
    box = Space(np.zeros(len(NAMES)), np.arange(1.0, 1 + len(NAMES)))
    return small(
        workload=Workload(
            [0.5, 0.25, 0.0], [3, 2, 1], [1, 5, 9], max_concurrency=2, strict=False, **ids
        ),
        config=ServerConfig(block_size=32, num_gpu_blocks=7, watermark=0.1, horizon_s=9),
        input_source=("exact", "estimated", "prior"),
        output_source="estimated",
        baseline=Parameters.from_vector(np.arange(len(NAMES)) / 7),
        bounds={"wide": box, "point": Space(box.lower, box.lower)},
        trials=Trials(np.arange(2.0 * len(NAMES)).reshape(2, -1), [3.5, 4.5], "made up"),
        provenance={"source": "Ünïcode", "numbers": [1, 2.5, None], "deep": {"a": [[1], [2]]}},
    )


def test_names() -> None:
    assert experiment_names() == ("exp1_30rr", "vllm-cpu-sync-r3", "vllm-cpu-sync-r9")


@pytest.mark.parametrize("name", experiment_names())
def test_bundled_files_are_small_and_named_after_their_content(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    assert experiment is load_experiment(name)
    path = Path(__file__).parents[1] / "pysimbind/data" / f"{name}.json"
    assert path.stat().st_size < 150_000
    assert load_experiment(path) == experiment


def test_exp1_is_flagged_request_by_request() -> None:
    experiment = load_experiment("exp1_30rr")
    assert experiment.num_requests == 100
    assert experiment.caveat == CAVEAT
    assert CAVEAT in repr(experiment)
    for source, tokens in zip(
        experiment.input_source, experiment.workload.input_tokens, strict=True
    ):
        assert (source, tokens) == ("prior", 105) or source == "exact"
    one = experiment.workload.output_tokens == 1
    assert one.sum() == 35
    # A request of one token ends with it: equal latencies, up to the client's clock readings.
    assert np.all((np.abs(experiment.e2e - experiment.ttft) < 1e-3) == one)
    assert all(
        s == "exact" for s, alone in zip(experiment.output_source, one, strict=True) if alone
    )


def test_exp1_settings() -> None:
    config = load_experiment("exp1_30rr").config
    assert config == ServerConfig(
        max_num_seqs=256,
        max_num_batched_tokens=2048,
        block_size=16,
        num_gpu_blocks=94060,
        max_model_len=2048,
        long_prefill_token_threshold=1000000,
        scheduler_reserve_full_isl=False,  # the scheduler of its time had no such test
        semantics="vllm-v1-0.9.1",
    )
    assert config.unmodelled == ()


def test_the_original_semantics_are_one_option_away() -> None:
    experiment = load_experiment("exp1_30rr")
    config = experiment.config.replace(semantics="blis-2025-07")
    original = load_experiment("exp1_30rr", config=config)
    assert original.config.semantics == "blis-2025-07"
    assert original.config.num_gpu_blocks == experiment.config.num_gpu_blocks


def test_exp1_baseline_lies_outside_the_original_bounds() -> None:
    experiment = load_experiment("exp1_30rr")
    assert experiment.baseline is not None
    assert set(experiment.bounds) == {"original", "follow-up"}
    original = experiment.bounds["original"]
    assert not original.contains(experiment.baseline.vector)
    assert original.at_bound(experiment.baseline)["vllm_overhead"] == "upper"
    assert experiment.baseline.overheads.tolist() == [544, 80, 1000, 6000]
    assert experiment.trials is not None
    assert len(experiment.trials) == 105
    assert experiment.trials.loss.min() == pytest.approx(204321.9, abs=0.05)
    assert np.all(original.contains(experiment.trials.x))
    assert "completion order" in experiment.trials.note


def test_exp1_equals_the_recorded_data(recorded: Path) -> None:
    data = recorded / "exp1_30rr"
    measured = json.loads((data / "exp1_30rr_measured.json").read_text())
    bounds = json.loads((data / "bounds.json").read_text())
    trials = json.loads((data / "exp1_30rr_bayesopt_trials.json").read_text())["trials"]
    lengths = json.loads((data / "lengths_partial.json").read_text())
    experiment = load_experiment("exp1_30rr")
    assert experiment.ttft.tolist() == measured["ttft_s"]
    assert experiment.e2e.tolist() == measured["e2e_s"]
    assert experiment.baseline == Parameters.from_mapping(measured["baseline"]["parameters"])
    assert experiment.bounds["original"] == Space.from_mapping(bounds["original"])
    assert experiment.bounds["follow-up"] == Space.from_mapping(bounds["follow_up"])
    assert experiment.trials is not None
    for i, trial in enumerate(trials):
        assert Parameters.from_vector(experiment.trials.x[i]).as_dict() == trial["parameters"]
        assert experiment.trials.loss[i] == -trial["target"]
    for i, request in enumerate(lengths["requests"]):
        known = request["exact"]
        assert (experiment.input_source[i] == "exact") == known
        assert experiment.workload.input_tokens[i] == (request["prompt_len"] if known else 105)
        output = request.get("output_tokens")  # given where it is known
        assert (experiment.output_source[i] == "exact") == (output is not None)
        expected = request["est_output_tokens"] if output is None else output
        assert experiment.workload.output_tokens[i] == expected
    assert experiment.provenance["lengths_notes"] == lengths["notes"]


@pytest.mark.parametrize(("name", "run"), [("r3", "Q_sync_r3"), ("r9", "Q_sync_r9_s43")])
def test_vllm_cpu_equals_the_recorded_data(recorded: Path, name: str, run: str) -> None:
    data = recorded / "vllm_cpu"
    meta = json.loads((data / f"{run}.meta.json").read_text())
    bundled = load_experiment(f"vllm-cpu-sync-{name}")
    config = ServerConfig.from_vllm_args(meta["server_args"], num_gpu_blocks=meta["num_gpu_blocks"])
    raw = load_experiment(data / f"{run}.json", config=config)
    assert bundled.config == config
    assert bundled.caveat == ""
    assert bundled.workload.input_tokens.tolist() == raw.workload.input_tokens.tolist()
    assert bundled.workload.output_tokens.tolist() == raw.workload.output_tokens.tolist()
    for a, b in (
        (bundled.workload.arrival_s, raw.workload.arrival_s),
        (bundled.ttft, raw.ttft),
        (bundled.e2e, raw.e2e),
    ):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
    assert bundled.provenance["server_args"] == meta["server_args"]


def test_config_override() -> None:
    config = ServerConfig(max_num_seqs=4)
    changed = load_experiment("exp1_30rr", config=config)
    assert changed.config == config
    assert changed.workload is load_experiment("exp1_30rr").workload
    assert load_experiment("exp1_30rr").config != config


@pytest.mark.parametrize(
    ("outputs", "inputs", "caveat"),
    [
        ("exact", "exact", ""),
        ("estimated", "exact", "3 of 3 output .. estimated"),
        ("exact", ("exact", "prior", "exact"), "1 of 3 prompt .. unknown"),
        (
            ("exact", "estimated", "prior"),
            ("estimated", "prior", "prior"),
            "1 of 3 output .. estimated .. 1 output .. unknown .. 1 prompt .. 2 prompt",
        ),
    ],
)
def test_caveat(outputs: Any, inputs: Any, caveat: str) -> None:
    found = small(output_source=outputs, input_source=inputs).caveat
    assert tells(found, caveat) if caveat else found == ""


@pytest.mark.parametrize("experiment", [small(), full(), load_experiment("exp1_30rr")])
@pytest.mark.parametrize("ending", [".json", ".json.gz", ".exp"])
def test_save_and_load(tmp_path: Path, experiment: Experiment, ending: str) -> None:
    path = tmp_path / f"saved{ending}"
    experiment.save(path)
    assert load_experiment(path) == experiment
    assert load_experiment(str(path)) == experiment
    assert os.listdir(tmp_path) == [path.name]
    first = path.read_bytes()
    assert first.startswith(b"\x1f\x8b") == (ending == ".json.gz")
    experiment.save(path)
    assert path.read_bytes() == first


def test_pickle_and_equality() -> None:
    assert pickle.loads(pickle.dumps(full())) == full()
    assert full() != small()
    assert small() == small()
    assert small() != small(ttft=[0.1, 0.2, 0.3])
    assert small() != 1
    assert full().trials != 1
    assert dataclasses.replace(small(), name="x").name == "x"


def test_immutable() -> None:
    experiment = full()
    assert experiment.trials is not None
    for array in (experiment.ttft, experiment.e2e, experiment.trials.x, experiment.trials.loss):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(TypeError):
        experiment.bounds["x"] = experiment.bounds["wide"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.name = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ttft": [0.1, 0.2]}, "ttft .. (2,) .. 3"),
        ({"e2e": [[0.1, 0.2, 0.3]]}, "e2e .. (1, 3)"),
        ({"ttft": [0.1, -0.2, 0.3]}, "ttft .. request 1 .. -0.2"),
        ({"e2e": [0.1, 0.2, float("inf")]}, "e2e .. request 2 .. inf"),
        ({"e2e": ["a", "b", "c"]}, "e2e .. seconds"),
        ({"input_source": "guess"}, "input_source .. request 0 .. 'guess'"),
        ({"output_source": ("exact", "x", "prior")}, "output_source .. request 1 .. 'x'"),
        ({"config": {"block_size": 32}}, "config .. ServerConfig .. dict"),
        ({"workload": None}, "workload .. Workload .. NoneType"),
        ({"output_source": ("exact", "prior")}, "output_source .. 2 .. 3"),
    ],
)
def test_bad_experiments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=facts(message)):
        small(**changes)


def test_mappings_become_parameters_and_spaces() -> None:
    experiment = full()
    assert experiment.baseline is not None
    given = small(
        baseline=experiment.baseline.as_dict(),
        bounds={name: box.as_dict() for name, box in experiment.bounds.items()},
    )
    assert given.baseline == experiment.baseline
    assert given.bounds == experiment.bounds


def test_bad_trials() -> None:
    with pytest.raises(ExperimentError, match=facts("(2, 3) .. (2,)")):
        Trials(np.zeros((2, 3)), np.zeros(2))


def test_unknown_name() -> None:
    with pytest.raises(ExperimentError) as caught:
        load_experiment("exp1_30r")
    assert tells(caught.value, "'exp1_30r' .. 'exp1_30rr'")
    assert tells(caught.value, "exp1_30rr, vllm-cpu-sync-r3, vllm-cpu-sync-r9")


@pytest.mark.parametrize(
    "path", ["exp2.json", "exp2.json.gz", "there/exp1_30rr", Path("exp1_30rr")]
)
def test_missing_file(path: str | Path) -> None:
    with pytest.raises(ExperimentError, match=rf"^{path}: .*No such file"):
        load_experiment(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.json .. empty"),
        (b'{"a": 1,\n "b": }', "line 2 .. column 7 .. JSON"),
        (b'{"a": 1}\n{"a": 2}', "line 2 .. column 1 .. JSON"),
        (b"\xff\xfe{", "bad.json .. UTF-8"),
        (b"[" * 100_000, "bad.json .. nested"),
        (b"[" + b"1" * 5000 + b"]", "bad.json .. JSON"),
        (b"[1, 2]", "bad.json .. format"),
        (b'{"schema": "other"}', "bad.json .. format"),
        (gzip.compress(b"{}", mtime=0), "bad.json .. text"),
    ],
)
def test_corrupt_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(ExperimentError, match=facts(message)) as caught:
        load_experiment(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"{}", gzip.compress(b"{}" * 999, mtime=0)[:-9], b"\x1f\x8b\x08\x00"]
)
def test_corrupt_gzip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json.gz"
    path.write_bytes(content)
    with pytest.raises(ExperimentError, match=facts("bad.json.gz .. gzip")):
        load_experiment(path)


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=facts(f"{tmp_path}: .. Is a directory")):
        load_experiment(tmp_path)
    with pytest.raises(OutputError, match=facts(f"{tmp_path}: .. regular file")):
        small().save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_links_stay_links_and_devices_are_left_alone(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("target.json")
    small().save(link)
    assert link.is_symlink()
    assert load_experiment(tmp_path / "target.json") == small()
    os.mkfifo(tmp_path / "fifo")  # stands for /dev/null
    with pytest.raises(OutputError, match=facts("fifo: .. regular file")):
        small().save(tmp_path / "fifo")
    assert (tmp_path / "fifo").is_fifo()


def test_unwritable(tmp_path: Path) -> None:
    path = tmp_path / "none" / "x.json"
    with pytest.raises(OutputError, match=facts("No such file")) as caught:
        small().save(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    small().save(path)
    before = path.read_bytes()
    for bad in (float("nan"), {1, 2}):
        with pytest.raises(OutputError, match=facts("x.json: .. JSON")):
            small(provenance={"bad": bad}).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.json"]


def test_saved_files_are_readable_by_all_the_umask_allows(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        small().save(tmp_path / "x.json")
    finally:
        os.umask(old)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == 0o640
