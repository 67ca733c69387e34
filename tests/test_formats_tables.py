"""Plain CSV and Parquet tables.

Oracles: tables whose arrivals and latencies are worked out by hand; the same numbers written in
other units, under other names, and as Parquet must give the same experiment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pysimbind.cli import main
from pysimbind.errors import ExperimentError, MissingExtraError
from pysimbind.experiment import Experiment
from pysimbind.formats import load_experiment
from pysimbind.vllm.arrivals import sequential_arrivals
from pysimbind.workload import Workload

from .facts import facts

NAN = float("nan")
PLAIN = {
    "arrival_s": ["100.5", "100", "101"],
    "input_tokens": ["10", "20", "30"],
    "output_tokens": ["3", "1", "0"],
    "ttft_s": ["0.25", "0.5", ""],
    "e2e_s": ["0.75", "0.5", "nan"],
}


def read(folder: Path, table: dict[str, list[str]], **options: Any) -> Experiment:
    path = folder / "table.csv"
    rows = [table.keys(), *zip(*table.values(), strict=True)]
    path.write_text("\n".join(",".join(row) for row in rows))
    return load_experiment(path, **options)


def renamed(**names: str) -> dict[str, list[str]]:
    return {names.get(name, name): values for name, values in PLAIN.items()}


def assert_plain(experiment: Experiment) -> None:
    assert experiment.workload.arrival_s.tolist() == [0, 0.5, 1.0]
    assert experiment.workload.input_tokens.tolist() == [20, 10, 30]
    assert experiment.workload.output_tokens.tolist() == [1, 3, 0]
    np.testing.assert_allclose(experiment.ttft, [0.5, 0.25, NAN], rtol=1e-12)
    np.testing.assert_allclose(experiment.e2e, [0.5, 0.75, NAN], rtol=1e-12)


def test_usual_names(tmp_path: Path) -> None:
    assert_plain(read(tmp_path, PLAIN))
    in_ms = {**renamed(ttft_s="ttft_ms"), "ttft_ms": ["250", "500", ""]}
    assert_plain(read(tmp_path, in_ms))


def test_mapped_columns(tmp_path: Path) -> None:
    """Units after a colon, or from the end of the name; other columns stay as they are."""
    columns = renamed(arrival_s="sent", ttft_s="first: chunk", e2e_s="total_us")
    columns["first: chunk"] = ["250", "500", ""]
    columns["total_us"] = ["750000", "500000", ""]
    text = "arrival=sent,ttft=first: chunk:ms,e2e=total_us"
    assert_plain(read(tmp_path, columns, columns=text))
    mapping = dict(pair.split("=") for pair in text.split(","))
    assert_plain(read(tmp_path, columns, columns=mapping))


def test_moments_and_facts(tmp_path: Path) -> None:
    columns = renamed(ttft_s="first_token_s", e2e_s="finish_s")
    columns["first_token_s"] = ["100.75", "100.5", ""]
    columns["finish_s"] = ["101.25", "100.5", ""]
    columns["intended_arrival_s"] = ["100.25", "100", ""]
    columns["cached_tokens"] = ["0", "16", "32"]
    experiment = read(tmp_path, columns)
    assert_plain(experiment)
    assert experiment.provenance["intended_arrival_s"] == [0, 0.25, None]
    assert experiment.provenance["cached_tokens"] == [16, 0, 32]


def test_arrivals_and_lengths_from_elsewhere(tmp_path: Path) -> None:
    """By row: the first row is the first request."""
    columns = {name: PLAIN[name] for name in ("ttft_s", "e2e_s")}
    workload = Workload([0, 1, 2], [5, 6, 7], [1, 2, 3])
    experiment = read(tmp_path, columns, workload=workload, arrivals="seed=5,rate=2")
    assert experiment.workload.arrival_s.tolist() == sequential_arrivals(3, 2, seed=5).tolist()
    assert experiment.workload.input_tokens.tolist() == [5, 6, 7]
    np.testing.assert_array_equal(experiment.ttft, [0.25, 0.5, NAN])
    assert experiment.provenance["workload"] == "token counts from given"
    many = {name: ["1"] * 100 for name in columns}
    estimated = read(tmp_path, many, workload="exp1_30rr", arrivals="seed=5,rate=2")
    assert estimated.caveat == load_experiment("exp1_30rr").caveat
    with pytest.raises(ExperimentError, match=facts("3 requests .. 1")):
        read(tmp_path, columns, workload=Workload([0], [5], [1]), arrivals="seed=5,rate=2")


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (
            renamed(ttft_s="t"),
            {},
            "ttft_s .. first_token_s .. columns",
        ),
        (renamed(arrival_s="t"), {}, "arrival_s .. columns=arrival=NAME"),
        (renamed(output_tokens="t"), {}, "output_tokens"),
        (PLAIN, {"columns": "ttft=x"}, "'x'"),
        (PLAIN, {"columns": "ttft=ttft"}, "'ttft' .. 'ttft_s'"),
        (PLAIN, {"columns": "tft=ttft_s"}, "'tft' .. 'ttft'"),
        (PLAIN, {"columns": "ttft=ttft_s:min"}, "'min' .. 'ttft_s'"),
        (PLAIN, {"columns": "ttft"}, "columns .. 'ttft'"),
        (PLAIN, {"columns": "ttft=ttft_s,ttft=e2e_s"}, "'ttft=e2e_s' .. twice"),
        ({**PLAIN, "ttft_s": ["1", "x", ""]}, {}, "line 3 .. ttft_s"),
        ({**PLAIN, "ttft_s": ["1", "inf", ""]}, {}, "line 3 .. ttft_s"),
        ({**PLAIN, "input_tokens": ["1", "2", ""]}, {}, "line 4 .. input_tokens"),
        ({**PLAIN, "input_tokens": ["1", "-2", "3"]}, {}, "line 3 .. input_tokens"),
        ({**PLAIN, "arrival_s": ["", "", ""]}, {}, "no request"),
        ({**PLAIN, "e2e_s": ["-1", "", ""]}, {}, "e2e .. request 1 .. -1.0"),
    ],
)
def test_errors(
    tmp_path: Path, columns: dict[str, list[str]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExperimentError, match=facts(message)) as caught:
        read(tmp_path, columns, **options)
    assert str(caught.value).startswith(f"{tmp_path / 'table.csv'}: ")


def test_a_table_that_is_broken_off(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(",".join(PLAIN) + ",ttft_s\n1,2,3,4,5,6\n")
    with pytest.raises(ExperimentError, match=facts("line 1 .. 'ttft_s'")):
        load_experiment(path)
    path.write_text(",".join(PLAIN) + "\n1,2,3,4,5\n\n1,2\n")
    with pytest.raises(ExperimentError, match=facts("line 4 .. 2 .. 5")):
        load_experiment(path)
    path.write_text(",".join(PLAIN) + "\n1,2,3,4,5\n" + '"' + "x" * 200_000)
    with pytest.raises(ExperimentError, match=facts("CSV .. field")):
        load_experiment(path)


def test_simulated_requests_can_be_read_back(tmp_path: Path) -> None:
    """A round trip through the package's own CSV."""
    path = tmp_path / "requests.csv"
    assert main(["simulate", "--out", str(path)]) == 0
    experiment = load_experiment(path)
    original = load_experiment("exp1_30rr")
    assert experiment.workload == original.workload
    assert np.isfinite(experiment.e2e).all()


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra 'parquet'")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "table.parquet"
    numbers = {
        name: [float(v) if v else None for v in values]
        if name.endswith("_s")
        else [int(v) for v in values]
        for name, values in PLAIN.items()
    }
    parquet.write_table(pyarrow.table(numbers), path)
    assert_plain(load_experiment(path))
    lengths = load_experiment(path, workload=path).workload
    assert lengths.input_tokens.tolist() == [20, 10, 30]
    parquet.write_table(pyarrow.table({**numbers, "ttft_s": [True, False, True]}), path)
    with pytest.raises(ExperimentError, match=facts("row 0 .. ttft_s .. True")):
        load_experiment(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ExperimentError, match=facts("Parquet")):
        load_experiment(path)


def test_parquet_says_which_extra_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=facts("pysimbind[parquet]")):
        load_experiment(path)
