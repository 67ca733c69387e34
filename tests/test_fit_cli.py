"""``python -m pysimbind.fit``: exit codes, one-line errors, files, Ctrl-C, pipes.

Oracles: the exit codes that the module promises, and ``fit`` from Python for the numbers.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pysimbind.cli import fit as cli
from pysimbind.cli import main
from pysimbind.fit import FitResult, FitStatus, fit
from pysimbind.formats import load_experiment

from .facts import tells

ROOT = Path(__file__).parents[1]
ENDLESS = ("--method", "cmaes", "--max-evals", "400000000")
COMMAND = [sys.executable, "-m", "pysimbind.fit"]


def _run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *args], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_the_command_saves_what_fit_returns(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    options = ["--method", "cmaes", "--max-evals", "200", "--seed", "5"]
    done = _run(*options, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert FitResult.load(out) == fit("exp1_30rr", "cmaes", max_evals=200, seed=5)
    assert tells(done.stdout, "50 of 100 output .. 79 prompt")
    assert done.stdout.endswith(f"saved: {out}\n")
    assert "200/200" in done.stderr


def test_a_terminal_without_unicode_gets_the_report_too() -> None:
    done = subprocess.run(
        [*COMMAND, "--quiet"],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "sum_prefill_tokens ? " in done.stdout
    assert done.stdout.isascii()


@pytest.mark.slow
def test_same_seed_same_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("a.json", "b.json"):
        assert _run("--max-evals", "200", "--out", str(tmp_path / name)).returncode == 0
        saved = json.loads((tmp_path / name).read_text())
        assert saved.pop("timing")["time_s"] > 0
        texts.append(json.dumps(saved))
    assert texts[0] == texts[1]


def test_every_option_reaches_the_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.json"
    options = (
        "exp1_30rr --method de --max-evals 120 --max-time 60 --seed 3 --bounds follow-up --quiet "
        "--loss original-unpaired --fixed intercept=0.005 --fixed update_time "
        "--semantics blis-2025-07"
    )
    code = main(["fit", *options.split(), "--out", str(out)])
    assert code == 0
    assert capsys.readouterr().err == ""
    exp1 = load_experiment("exp1_30rr")
    config = exp1.config.replace(semantics="blis-2025-07")
    assert FitResult.load(out) == fit(
        dataclasses.replace(exp1, config=config),
        "de",
        max_evals=120,
        max_time_s=60,
        seed=3,
        bounds="follow-up",
        loss="original-unpaired",
        fixed={"intercept": 0.005, "update_time": 80},
    )


def test_a_loss_is_composed_on_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    words = "relative,e2e:5,ttft:1,soft_l1:0.05,warmup:10"
    options = ["--method", "lsq", "--loss", words, "--max-evals", "60", "--quiet"]
    assert main(["fit", *options, "--out", str(out)]) == 0
    result = FitResult.load(out)
    assert result == fit("exp1_30rr", "lsq", loss=words, max_evals=60)
    saved = json.loads(out.read_text())
    assert (saved["loss"], saved["unit"]) == (result.loss, "rel^2")


def test_semantics_replace_those_of_the_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for options in ([], ["--semantics", "vllm-v1-0.9.1"], ["--semantics", "blis-2025-07"]):
        out = tmp_path / "r.json"
        assert main(["fit", "--max-evals", "50", "--quiet", "--out", str(out), *options]) == 0
        result = FitResult.load(out)
        assert capsys.readouterr().out.startswith(f"exp1_30rr, {result.config.semantics}: auto")
        found[tuple(options)] = result
    own, same, original = found.values()
    assert own == same
    assert own.config.semantics == "vllm-v1-0.9.1"
    assert json.loads(out.read_text())["runs"][0]["config"]["semantics"] == "blis-2025-07"
    assert original.config == own.config.replace(semantics="blis-2025-07")
    assert original.fun != own.fun


def test_a_measurement_is_not_overwritten_by_its_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "e.json"
    load_experiment("exp1_30rr").save(file)
    before = file.read_bytes()
    assert main(["fit", str(file), "--max-evals", "5", "--out", str(file)]) == 2
    assert tells(capsys.readouterr().err, "input")
    assert file.read_bytes() == before


def test_fixed_none_frees_all(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    assert main(["fit", "--max-evals", "1", "--fixed", "none", "--out", str(out), "--quiet"]) == 0
    assert FitResult.load(out).fixed == {}


def test_an_experiment_file_can_be_fitted(recorded: Path, tmp_path: Path) -> None:
    file = recorded / "vllm_cpu" / "Q_sync_r3.json"
    out = tmp_path / "r.json"
    assert main(["fit", str(file), "--max-evals", "20", "--quiet", "--out", str(out)]) == 0
    result = FitResult.load(out)
    assert (result.bounds_name, result.model.name) == ("nonnegative", "extended")


BAD = [
    (["exp1_30r"], "'exp1_30r' .. 'exp1_30rr'"),
    (["no/such/file.json"], "no/such/file.json"),
    (["{tmp}/corrupt.json"], "corrupt.json .. line 2, column 1"),
    (["--method", "bayse"], "'bayse' .. 'bayes'"),
    (["--loss", "mse"], "loss .. 'mse'"),
    (["--loss", "relative,e2"], "'e2' .. 'e2e'"),
    (["--method", "lsqr"], "'lsqr' .. 'lsq'"),
    (["--bounds", "folow-up"], "'folow-up' .. 'follow-up'"),
    (["--bounds", "{tmp}/corrupt.json"], "corrupt.json .. line 2, column 1"),
    (["--bounds", "{tmp}/short.json"], "'intercept' .. [lower, upper] .. [0]"),
    (["--fixed", "intercpt"], "'intercpt' .. 'intercept'"),
    (["--fixed", "intercept=x"], "'x' .. number"),
    (["--fixed", "wibble"], "'wibble' .. sum_decode_tokens"),
    (
        ["--fixed", "none", "--fixed", "intercept"],
        "--fixed .. none",
    ),
    (["--initial", "{tmp}/short.json"], "initial .. 'sum_decode_tokens' .. 17"),
    (["--checkpoint", "{tmp}/r.json"], "r.json .. output"),
    (["--weights", "1,2"], "2 weights .. 1 run"),
    (["--max-evals", "0"], "max_evals"),
    (["--max-evals", "many"], "--max-evals .. 'many'"),
    (["--max-time", "-1"], "max_time_s"),
    (["--semantics", "vllm-v2"], "semantics .. blis-2025-07, vllm-v1, vllm-v1-0.9.1 .. 'vllm-v2'"),
    (["--semantics", "blis-2025-7"], "'blis-2025-7' .. 'blis-2025-07'"),
    (["--seed", "-1"], "seed"),
    (["--sed", "1"], "--sed"),
    (["--out"], "--out .. argument"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=lambda value: str(value)[:40])
def test_a_mistake_is_one_line_and_exit_code_2(
    args: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corrupt.json").write_text('{"intercept": [0, 1],\n')
    (tmp_path / "short.json").write_text('{"intercept": [0]}')
    out = tmp_path / "r.json"
    given = [arg.replace("{tmp}", str(tmp_path)) for arg in args]
    assert main(["fit", "--out", str(out), "--max-evals", "5", *given]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pysimbind: error: ")
    assert printed.err.count("\n") == 1
    assert tells(printed.err, message)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corrupt.json", "short.json"]


@pytest.mark.parametrize("where", ["no/such/folder/r.json", "taken", "corrupt.json/r.json"])
def test_an_unwritable_output_is_found_before_the_fit(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "corrupt.json").write_text("{")
    monkeypatch.setattr(cli, "fit", lambda *args, **kwargs: pytest.fail("it ran"))
    assert main(["fit", "--out", str(tmp_path / where)]) == 2
    printed = capsys.readouterr()
    assert tells(printed.err, f"{tmp_path / where}: .. written")
    assert printed.err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["corrupt.json", "taken"]


def test_a_missing_library_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bayes_opt", None)
    assert main(["fit", "--method", "bayes"]) == 2
    assert tells(capsys.readouterr().err, "'pysimbind[bayes]'")


def test_a_fit_that_finds_nothing_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bounds = fit("exp1_30rr", max_evals=1).bounds.as_dict()
    bounds = {name: [0, 1e-9] for name in bounds} | {"intercept": [-2, -1]}
    (tmp_path / "box.json").write_text(json.dumps(bounds))
    assert (
        main(["fit", "--bounds", str(tmp_path / "box.json"), "--max-evals", "50", "--quiet"]) == 1
    )
    assert tells(capsys.readouterr().out, "no candidate")


def test_help_lists_what_there_is() -> None:
    done = _run("--help")
    assert done.returncode == 0
    for word in ("exp1_30rr", "cmaes", "bayes", "original-unpaired", "--out"):
        assert word in done.stdout


# The command with a progress line after every batch, so that the test knows when it is running.
_TALKATIVE = """
import sys
from pysimbind.cli import _progress, main
_progress.Progress._due = lambda *given: True
sys.exit(main(["fit", *sys.argv[1:]]))
"""


def test_ctrl_c_twice_saves_and_reports_the_best_so_far(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    with subprocess.Popen(
        [sys.executable, "-c", _TALKATIVE, *ENDLESS, "--out", str(out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("cmaes"), first
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert tells(stdout, "interrupted")
    result = FitResult.load(out)
    assert result.status is FitStatus.INTERRUPTED
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_ctrl_c_before_the_fit_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "read_experiment", interrupted)
    assert main(["fit"]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_gives_the_signal_handler_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert main(["fit", "--max-evals", "1", "--quiet"]) == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_a_reader_that_leaves_is_no_failure(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    command = [*COMMAND, "--max-evals", "50", "--out", str(out)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        stderr = process.stderr.read()
        assert process.wait(timeout=60) == 0
    assert "Traceback" not in stderr
    assert "BrokenPipe" not in stderr
    assert FitResult.load(out).nfev == 50


@pytest.mark.parametrize(
    ("redirection", "code", "complaint"),
    [
        (">/dev/full", 2, "pysimbind: error: .. report"),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full(redirection: str, code: int, complaint: str) -> None:
    if redirection == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = f'exec "$0" -m pysimbind.fit --max-evals 50 {redirection}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert complaint == "" or tells(done.stderr, complaint)
