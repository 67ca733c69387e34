"""The tutorial's commands, run one after another as a reader would; the page is the oracle."""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pysimbind import FitResult

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return the folder after the last command, and what each has printed."""
    pytest.importorskip("matplotlib", reason="the sweep's picture needs the extra 'plot'")
    folder = tmp_path_factory.mktemp("tutorial")
    for file in (ROOT / "examples" / "tutorial").iterdir():
        shutil.copy(file, folder)
    printed = []
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S):
        for command in block.splitlines():
            words = shlex.split(command)
            assert words[0] == "pysimbind"
            done = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            printed.append(done.stdout)
    return folder, printed


def test_five_commands(ran: tuple[Path, list[str]]) -> None:
    folder, printed = ran
    assert len(printed) == 5
    left = {path.name for path in folder.iterdir()}
    assert {"record.json", "sweep.csv", "sweep.png", "parameters.yaml"} <= left


def test_the_fit_predicts_as_the_page_says(ran: tuple[Path, list[str]]) -> None:
    rows = {row.part: row.accuracy.e2e for row in FitResult.load(ran[0] / "record.json").accuracy}
    assert set(rows) == {"training", "held-out"}
    for errors in rows.values():
        assert errors.mape < 6.5
        assert abs(errors.mean) < 2


def test_the_other_run_is_predicted(ran: tuple[Path, list[str]]) -> None:
    said = ran[1][1]
    assert said.endswith("the fit holds\n")
    e2e = next(line.split() for line in said.splitlines() if line.split()[:1] == ["E2E"])
    assert float(e2e[2]) < 4
    assert abs(float(e2e[4])) < 1


def test_the_sweep_shows_where_seats_run_out(ran: tuple[Path, list[str]]) -> None:
    with (ran[0] / "sweep.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["rate_rps"] in ("15.0", "18.0", "24.0")]
    p99 = {(row["max_num_seqs"], float(row["rate_rps"])): float(row["ttft_p99_s"]) for row in rows}
    assert p99["32", 15] < 0.1 < 0.2 < p99["32", 18]
    assert p99["128", 24] < 0.12


def test_the_capacity(ran: tuple[Path, list[str]]) -> None:
    line = ran[1][3].splitlines()[-1]
    numbers = [float(word) for word in re.findall(r"\d+\.\d+", line)]
    assert any(27 < number < 30 for number in numbers), line
    assert line.split()[-1] == "4", line
