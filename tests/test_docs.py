"""What the README, the pages and the examples say is true.

The oracle is the text itself: its Python blocks run and hold their own assertions, its examples
run, its links lead somewhere, and each of its shell commands is known to what it calls.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import itertools
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import build
from pysimbind import load_experiment
from pysimbind.fit import METHODS

from . import mutants

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
CAVEAT = load_experiment("exp1_30rr").caveat
QUICK = {"plot_fit.py": ["--max-evals", "500"], "plot_derivatives.py": ["--requests", "300"]}
LIBRARIES = {"nevergrad_search.py": "nevergrad", "optuna_search.py": "optuna"}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
COLLECTED = "tests/test_arrivals.py"  # stands for all tests where only options are looked at


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language, preceded by empty lines as in the page."""
    text = page.read_text("utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return ["\n" * text.count("\n", 0, match.start(1)) + match[1] for match in found]


def lines_of(block: str) -> list[str]:
    """Return the commands of a shell block; ``pysimbind`` is spelled ``python -m pysimbind``."""
    spelled = re.sub(r"^pysimbind (fit|collect)\b", r"python -m pysimbind.\1", block, flags=re.M)
    return re.sub(r"^pysimbind\b", "python -m pysimbind", spelled, flags=re.M).splitlines()


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run(command: list[str], cwd: Path, **env: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}"
    return done.stdout


def run_here(
    start: Callable[[], object], arguments: list[str], folder: Path, codes: Sequence[int] = (0,)
) -> str:
    """Run a module or script as if from a shell, in this process; returns its standard output."""
    said, errors, code = io.StringIO(), io.StringIO(), None
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(errors),
    ):
        patch.setattr(sys, "argv", ["", *arguments])
        patch.chdir(folder)
        try:
            start()
        except SystemExit as end:
            code = end.code
    assert (code or 0) in codes, f"{shlex.join(arguments)}: {code}\n{errors.getvalue()}"
    return said.getvalue()


def run_module(module: str, arguments: list[str], folder: Path, codes: Sequence[int] = (0,)) -> str:
    start = functools.partial(runpy.run_module, module, None, "__main__")
    return run_here(start, arguments, folder, codes)


def run_script(script: Path, arguments: list[str], folder: Path) -> str:
    return run_here(
        functools.partial(runpy.run_path, str(script), None, "__main__"), arguments, folder
    )


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page, "python"):  # those of a page build on each other
        exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.parametrize(
    "example",
    [pytest.param(e, marks=[pytest.mark.slow] * (e.name in LIBRARIES)) for e in EXAMPLES],
    ids=name,
)
def test_examples_run(example: Path, tmp_path: Path) -> None:
    if example.name.startswith("plot_"):
        pytest.importorskip("matplotlib", reason="the picture needs the extra 'plot'")
        picture = tmp_path / "picture.png"
        run_script(example, ["--out", str(picture), *QUICK[example.name]], tmp_path)
        assert picture.read_bytes().startswith(b"\x89PNG")
    else:
        if example.name in LIBRARIES:
            library = LIBRARIES[example.name]
            pytest.importorskip(library, reason=f"{library} is in the extra 'optimisers'")
        assert run_script(example, [], tmp_path)


def test_the_readme_shows_the_quickstart() -> None:
    quickstart = (ROOT / "examples" / "quickstart.py").read_text("utf-8")
    assert [block.lstrip("\n") for block in blocks(README, "python")] == [quickstart]


def test_the_readme_leads_from_a_measurement_to_a_capacity(tmp_path: Path) -> None:
    """Its first commands run one after another; the last prints what the README shows."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    said = ""
    for command in lines_of(blocks(README, "sh")[0].strip()):
        module, *arguments = shlex.split(command)[2:]
        said = run_module(module, arguments, tmp_path)
    assert words(said) == words(blocks(README, "text")[0])


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("**/*.md")), ids=name)
def test_an_index_lists_each_page(page: Path) -> None:
    index = page.with_name("README.md" if page.parent.name == "decisions" else "index.md")
    assert page == index or f"]({page.name})" in index.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_results_of_the_experiment_carry_its_caveat(page: Path) -> None:
    text = " ".join(page.read_text("utf-8").split())
    if re.search(r"\d s²|\[s²\]", text):
        assert CAVEAT in text


def test_the_readme_quotes_the_benchmarks() -> None:
    speed = README.read_text("utf-8").split("## Speed")[1].split("\n## ")[0]
    quoted = [line for line in speed.splitlines() if line.startswith("|")]
    measured = (ROOT / "docs" / "benchmarks.md").read_text("utf-8").splitlines()
    assert len(quoted) > 2
    assert [line for line in quoted if line not in measured] == []


def words(report: str) -> list[str]:
    """Return the lines of a report without their numbers and what hangs on them.

    Which parameters are not determined hangs on the last bits, which differ between processors.
    """
    report = re.sub(r"\n  (?=\S)", " ", report.strip())  # long lines are continued so
    kept = re.sub(r"at its (lower|upper) bound|not determined$", "", report, flags=re.MULTILINE)
    kept = re.sub(r"[-+]?\d[\d.,e+-]*", "", re.sub(r"(not determined|at a bound)\b.*", r"\1", kept))
    lines = [" ".join(line.split()) for line in kept.splitlines()]
    return [line for line, after in itertools.pairwise([*lines, ""]) if line != after or not line]


def test_the_page_on_reports_shows_one(tmp_path: Path) -> None:
    page = ROOT / "docs" / "report.md"
    command, shown = blocks(page, "sh")[0], blocks(page, "text")[0]
    arguments = shlex.split(lines_of(command.strip())[0])[3:]
    assert words(run_module("pysimbind.fit", [*arguments, "--quiet"], tmp_path)) == words(shown)


def shell_commands() -> list[str]:
    """Return the commands of all pages, but for those that tests run one after another."""
    shown = [block for page in PAGES if page.name != "tutorial.md" for block in blocks(page, "sh")]
    shown.remove(blocks(README, "sh")[0])
    lines = [line for block in shown for line in lines_of(block)]
    return sorted({part.strip() for line in lines if line for part in line.split("&&")})


def collects(command: str) -> bool:
    """Tell whether the check of a command starts pytest."""
    return command.startswith("python -m pytest ")


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=[pytest.mark.slow] * collects(c)) for c in shell_commands()],
)
def test_shell_commands_are_valid(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    for start, check in CHECKS.items():
        if command.startswith(start):
            check(words[len(shlex.split(start)) :], tmp_path)
            return
    pytest.fail(f"no check for the command {command!r}")


def stand_in(folder: Path, name: str = "result.json") -> None:
    """Put a measurement there by the name that the pages give to a user's own."""
    sample = ROOT / "tests" / "data" / "vllm_bench_detailed.json"
    (folder / name).write_bytes(sample.read_bytes())


def check_fit(arguments: list[str], folder: Path) -> None:
    """Run the fit with few evaluations; a user's own file is stood in for."""
    few = ["--quiet", "--max-evals", "6"]
    if "bayes" in arguments and importlib.util.find_spec("bayes_opt") is None:
        pytest.skip("bayesian-optimization is not installed")
    stand_in(folder)
    if "--resume" in arguments:
        begun = arguments[: arguments.index("--resume")]  # the page has the option last
        run_module("pysimbind.fit", [*begun, "--quiet", "--max-evals", "3"], folder)
    done = run_module("pysimbind.fit", [*arguments, *few], folder)
    if "--help" in arguments:
        assert all(method in done for method in METHODS)


def check_command(command: str, arguments: list[str], folder: Path) -> None:
    """Run it; what it promises to save is there."""
    if "--plot" in arguments:
        pytest.importorskip("matplotlib", reason="--plot needs the extra 'plot'")
    run_module("pysimbind", [command, *arguments], folder)
    for option, saved in itertools.pairwise(arguments):
        assert option not in ("--trace", "--plot", "--out") or (folder / saved).stat().st_size > 0


def check_validate(arguments: list[str], folder: Path) -> None:
    """Validate a quick fit; a user's own files are stood in for."""
    quick = ["vllm-cpu-sync-r9", "--max-evals", "100", "--out", arguments[0], "--quiet"]
    run_module("pysimbind.fit", quick, folder)
    stand_in(folder, "new_run.json")
    said = run_module("pysimbind", ["validate", *arguments], folder, codes=(0, 3))
    assert "the fit " in said


def check_convert(arguments: list[str], folder: Path) -> None:
    """Convert; a user's own file is stood in for."""
    stand_in(folder)
    assert "saved: " in run_module("pysimbind", ["convert", *arguments], folder)


def check_collect(arguments: list[str], folder: Path) -> None:
    """Print the commands for the page's own file."""
    (folder / "config.yaml").write_text(blocks(ROOT / "docs" / "collect.md", "yaml")[0], "utf-8")
    if "--dry-run" not in arguments:
        arguments = [*arguments, "--dry-run"]
    assert "bench serve" in run_module("pysimbind.collect", arguments, folder)


def check_export(arguments: list[str], folder: Path) -> None:
    """Look whether the tests read the variables."""
    read = (ROOT / "tests" / "test_collect_real.py").read_text("utf-8")
    assert all(f'"{word.partition("=")[0]}"' in read for word in arguments)


def check_help(arguments: list[str], folder: Path) -> None:
    assert "--help" in arguments
    run_module("pysimbind", arguments, folder)


def check_cost_by_size(arguments: list[str], folder: Path) -> None:
    """Draw a small one."""
    pytest.importorskip("matplotlib", reason="the picture needs the extra 'plot'")
    picture = folder / "cost.png"
    small = ["--out", str(picture), "--largest", "100"]
    run_module("benchmarks.cost_by_size", [*arguments, *small], folder)
    assert picture.read_bytes().startswith(b"\x89PNG")


def check_mutants(arguments: list[str], folder: Path) -> None:
    """Its options are known; test_mutants.py runs it."""
    mutants.parse(arguments)


@functools.cache
def help_of_pip(command: str) -> str:
    return run([sys.executable, "-m", "pip", command, "--help"], ROOT)


def check_pip(arguments: list[str], folder: Path) -> None:
    """Look the options up in pip's help, and the extras in pyproject.toml."""
    known = help_of_pip(arguments[0])
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = project.split("[project.optional-dependencies]")[1]
    for word in arguments[1:]:
        if word.startswith("-"):
            assert re.search(rf"(?<!\S){re.escape(word)}[\s,]", known), word
        for extra in re.findall(r"\[(.*)\]", word):
            for each in extra.split(","):
                assert re.search(rf"^{each} = \[", extras, re.MULTILINE), each


def check_pytest(arguments: list[str], folder: Path) -> None:
    """Collect what would run, of all tests or benchmarks one module; bare pytest runs right now."""
    if not arguments:
        return
    modules = [{"benchmarks": "benchmarks/test_speed.py"}.get(word, word) for word in arguments]
    if arguments == ["-m", "slow"]:
        modules.append("tests/test_packaging.py")
    elif not any((ROOT / word).exists() for word in modules):
        modules.append(COLLECTED)
    collect = ["--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider"]
    assert "::" in run([sys.executable, "-m", "pytest", *modules, *collect], ROOT)


@functools.cache
def go_tests() -> list[str]:
    """Compile the tests of the engines, and return their names."""
    env = build.go_environment() | {"CC": build.find_cc()}
    return run([build.find_go(), "test", "-list", ".", "./sim"], build.SHIM, **env).split()


def check_go_test(arguments: list[str], folder: Path) -> None:
    """What is to run must be among the tests, and know the flags after -args.

    All of them run in test_go.py.
    """
    if arguments == ["./..."]:
        return
    own = arguments.index("-args") if "-args" in arguments else len(arguments)
    assert arguments[own - 1] == "./sim"
    listed = go_tests()
    chosen = [value for option, value in itertools.pairwise(arguments) if option == "-fuzz"]
    assert set(chosen) <= set(listed)
    patterns = [value for option, value in itertools.pairwise(arguments) if option == "-run"]
    assert all(p == "NONE" or any(re.search(p, name) for name in listed) for p in patterns)
    sources = "".join(path.read_text("utf-8") for path in build.SHIM.rglob("*_test.go"))
    for flag in arguments[own + 1 :: 2]:
        assert f'"{flag.removeprefix("-")}"' in sources, flag


def check_script(arguments: list[str], folder: Path) -> None:
    """Ask a script of ours for its options."""
    script, *options = arguments
    if script.startswith("examples/plot_"):
        pytest.importorskip("matplotlib", reason="the picture needs the extra 'plot'")
    usage = run_script(ROOT / script, ["--help"], folder)
    assert all(option in usage for option in options if option.startswith("--"))


def check_one_liner(arguments: list[str], folder: Path) -> None:
    compile(arguments[0], "-c", "exec")


def check_configured(arguments: list[str], folder: Path) -> None:
    """Look whether the files named are there: the tool itself is not in the extra 'test'."""
    for word in arguments:
        assert word.startswith("-") or word in ("check", "format") or (ROOT / word).exists(), word


def check_ci(arguments: list[str], folder: Path) -> None:
    """CI must be executable and run the README's two commands as they are shown."""
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    said = script.read_text("utf-8").replace("--quiet ", "")
    for block in blocks(README, "sh")[1:3]:
        assert f"({block.strip()})" in said


def check_lint(arguments: list[str], folder: Path) -> None:
    """The script must be executable; what it runs is checked in test_house.py."""
    assert os.access(ROOT / ".ci" / "lint", os.X_OK)
    assert arguments == []


def check_hooks(arguments: list[str], folder: Path) -> None:
    """There must be hooks to install."""
    assert (ROOT / ".pre-commit-config.yaml").is_file()


def check_shell(arguments: list[str], folder: Path) -> None:
    """A folder to go to, or the activation of an environment that the reader has just made."""
    assert all((ROOT / word).exists() or word.startswith(".venv") for word in arguments)


CHECKS = {
    "python -m pysimbind.fit": check_fit,
    "python -m pysimbind convert": check_convert,
    "python -m pysimbind simulate": functools.partial(check_command, "simulate"),
    "python -m pysimbind validate": check_validate,
    "python -m pysimbind sweep": functools.partial(check_command, "sweep"),
    "python -m pysimbind capacity": functools.partial(check_command, "capacity"),
    "python -m pysimbind export": functools.partial(check_command, "export"),
    "python -m pysimbind.collect": check_collect,
    "python -m pysimbind": check_help,
    "python -m benchmarks.cost_by_size": check_cost_by_size,
    "python -m tests.mutants": check_mutants,
    "python -m pytest": check_pytest,
    "python -m venv": check_shell,
    "python -c": check_one_liner,
    "python": check_script,
    "pip": check_pip,
    "go test": check_go_test,
    "ruff": check_configured,
    "mypy": check_configured,
    ".ci/run": check_ci,
    ".ci/lint": check_lint,
    "pre-commit install": check_hooks,
    "export": check_export,
    "cd": check_shell,
    ".": check_shell,
}
