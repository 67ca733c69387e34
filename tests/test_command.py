"""The installed command: script, versions, completion, and the layout of the help pages.

Oracles: pyproject.toml and the header for the names and versions, a real bash for the completion,
and the list of groups for the layout.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import build
from pysimbind import _native, cli
from pysimbind.cli import COMMANDS, main
from pysimbind.cli._parser import GROUPS, Parser
from pysimbind.errors import InputError

from .facts import facts, tells

PAGES = ("", *COMMANDS)


# --- script --------------------------------------------------------------------------------------


def entry_point(root: Path) -> str:
    found = re.search(
        r'^\[project.scripts\]\npysimbind = "(.*)"$',
        (root / "pyproject.toml").read_text("utf-8"),
        re.MULTILINE,
    )
    assert found is not None
    return found[1]


def run_script(root: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point as the script that an installer writes does."""
    module, _, function = entry_point(root).partition(":")
    source = f"import sys; from {module} import {function}; sys.exit({function}())"
    return subprocess.run(
        [sys.executable, "-c", source, *words],
        cwd=root,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_script_is_the_command(root: Path) -> None:
    assert importlib.metadata.EntryPoint("pysimbind", entry_point(root), "").load() is cli.script
    done = run_script(root, "experiments")
    assert (done.returncode, done.stderr) == (0, "")
    assert "exp1_30rr" in done.stdout
    assert run_script(root, "experiment").returncode == 2


def test_the_script_leaves_with_130_after_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(argv: object) -> int:
        raise KeyboardInterrupt

    ignored = []
    monkeypatch.setattr(cli, "_main", interrupted)
    monkeypatch.setattr("signal.signal", lambda *given: ignored.append(given))
    assert cli.script() == 130
    assert len(ignored) == 1, "a second Ctrl-C must not change the exit code"
    assert capsys.readouterr().err.count("\n") == 1


def test_usage_names_the_script_or_the_module(root: Path) -> None:
    assert run_script(root, "fit", "--help").stdout.startswith("usage: pysimbind fit [")
    for module, name in (("pysimbind", "pysimbind fit"), ("pysimbind.fit", "pysimbind.fit")):
        words = ["fit", "--help"] if module == "pysimbind" else ["--help"]
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(f"usage: python -m {name} [")


# --- versions ------------------------------------------------------------------------------------


def test_version_is_that_of_package_engine_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    abi = re.search(r"^#define PSB_ABI_VERSION (\d+)$", build.CDEF.read_text("utf-8"), re.M)
    go = subprocess.run(
        [build.find_go(), "env", "GOVERSION"],
        env=build.go_environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert abi is not None
    assert first.startswith(f"pysimbind {importlib.metadata.version('pysimbind')} ")
    assert f"engine ABI {abi[1]}, {go}, Python " in first
    assert second == f"library: {build.LIBRARY}"


def test_version_without_a_library_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_native, "_library", None)
    monkeypatch.setattr(_native, "_LIBRARY", tmp_path / "gone.so")
    assert main(["--version"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"pysimbind: error: {tmp_path}/gone.so ")
    assert tells(printed.err, "pip install")
    assert printed.err.count("\n") == 1


# --- completion ----------------------------------------------------------------------------------

# What bash itself does at Tab: the function that `complete -F` names, with the words so far.
TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p pysimbind | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
"$function" pysimbind "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    pytest.importorskip("shtab", reason="needs the extra 'completion'")
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    done = run_script(root, "--print-completion", "bash")
    assert done.returncode == 0, done.stderr
    path = tmp_path_factory.mktemp("completion") / "pysimbind.bash"
    path.write_text(done.stdout)
    return path


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fi", {"fit"}),
        ("--v", {"--version"}),
        ("--print-completion t", {"tcsh"}),
        ("fit --me", {"--method"}),
        ("fit --method l", {"lsq", "lbfgsb"}),
        ("fit exp1_30rr vllm-cpu", {"vllm-cpu-sync-r3", "vllm-cpu-sync-r9"}),
        ("fit exp", {"exp1_30rr", "expected.json"}),
        ("fit --out ex", {"expected.json"}),
        ("fit --semantics vllm-v1-", {"vllm-v1-0.9.1"}),
        ("fit --set max_num_s", {"max_num_seqs="}),
        ("collect plan.json --output fo", {"folder"}),
        ("export exp1_30rr --format j", {"json"}),
        ("sweep exp1_30rr --rates 1 2 --work", {"--workload", "--workers"}),
    ],
)
def test_bash_completes(bash_script: Path, line: str, offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "expected.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    done = subprocess.run(
        ["bash", "--norc", "-c", TAB, "bash", str(bash_script), "pysimbind", *line.split(" ")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_every_shell_knows_commands_and_choices(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("shtab", reason="needs the extra 'completion'")
    assert main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    known = [*COMMANDS, "max-evals", "nelder-mead", *(["exp1_30rr"] if shell != "tcsh" else [])]
    assert [word for word in known if word not in script] == []  # tcsh offers words or files


def test_a_shell_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-completion", "bsh"]) == 2
    assert tells(capsys.readouterr().err, "'bsh' .. 'bash'")


def test_completion_names_its_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    assert tells(capsys.readouterr().err, "'pysimbind[completion]'")


# --- help ----------------------------------------------------------------------------------------


@pytest.fixture(params=PAGES)
def page(
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, list[str]]:
    """Return the name of a command, or "", and the lines of its help page at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as ended:
        main([*([request.param] if request.param else []), "--help"])
    assert ended.value.code == 0
    return request.param, capsys.readouterr().out.splitlines()


def test_help_has_one_layout(page: tuple[str, list[str]]) -> None:
    name, lines = page
    assert re.fullmatch(rf"usage: pysimbind {name} ?[^-].*".replace("  ", " "), lines[0])
    assert lines[1] == ""
    assert lines[2].endswith(".")
    assert lines[3] == ""
    titles = [line[:-1] for line in lines if re.fullmatch(r"[a-z ]+:", line)]
    groups = [title for title in titles if title in GROUPS]
    assert groups == sorted(groups, key=GROUPS.index)
    assert groups[-1] == "help"
    assert set(titles) - set(groups) == ({"examples"} if name else {"commands"})


def test_help_fits_80_columns(page: tuple[str, list[str]]) -> None:
    assert max(map(len, page[1])) < 80


def test_help_tells_defaults_in_one_way(page: tuple[str, list[str]]) -> None:
    text = " ".join(" ".join(page[1]).split())
    assert text.count("default") == text.count("(default: ")
    assert "None" not in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_understood(name: str) -> None:
    parser = Parser(prog=name, usage="")
    COMMANDS[name].configure(parser)
    assert COMMANDS[name].examples
    for example in COMMANDS[name].examples:
        parser.read(shlex.split(example))


def test_help_on_a_terminal_of_80_columns(root: Path) -> None:
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pysimbind", "sweep", "--help"],
        cwd=root,
        env=env | {"NO_COLOR": "1"},
        stdout=theirs,
    )
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # Linux: the other side is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    lines = text.decode().splitlines()
    assert lines[0] == "usage: python -m pysimbind sweep RECORD --rates R ... [OPTIONS]"
    assert max(map(len, lines)) < 80


# --- the parser ----------------------------------------------------------------------------------


def parser() -> Parser:
    made = Parser(prog="p", usage="")
    made.adder("arguments")("files", nargs="*")
    add = made.adder("search")
    add("--coeffs")
    add("--rates", nargs="+", type=float)
    add("--quiet", action="store_true")
    return made


def test_a_value_may_begin_as_a_negative_number() -> None:
    assert parser().read(["--coeffs", "-1e-05,2", "a"]).coeffs == "-1e-05,2"
    assert parser().read(["--coeffs", "-.5"]).coeffs == "-.5"
    assert parser().read(["--coeffs=-1e-05,2"]).coeffs == "-1e-05,2"
    assert parser().read(["--rates", "-1", "2"]).rates == [-1.0, 2.0]
    assert parser().read(["--", "--coeffs", "-1e-05"]).files == ["--coeffs", "-1e-05"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--coefs", "1"], "--coefs .. '--coeffs'"),
        (["--coefs=1"], "--coefs=1 .. '--coeffs'"),
        (["--quiet", "-1e-05"], "-1e-05 .. p --help"),
        (["--coeffs", "--quiet"], "--coeffs .. argument"),
    ],
)
def test_what_is_not_understood(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=facts(message)):
        parser().read(words)


def test_no_private_attribute_of_argparse_is_read(root: Path) -> None:
    private = {
        name
        for kind in (argparse.ArgumentParser, argparse.Action)
        for name in (*vars(argparse.ArgumentParser(add_help=False)), *dir(kind))
        if re.match(r"_[a-z]", name)
    }
    for path in (root / "pysimbind" / "cli").glob("*.py"):
        used = set(re.findall(r"\.(_[a-z]\w*)", path.read_text("utf-8")))
        assert not used & private, path.name


# --- hostile words and streams -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", ""], "EXPERIMENT .. ''"),
        (["fit", "--out", ""], "--out .. ''"),
        (["fit", "a\nb"], "experiment .. 'a\\nb'"),
        (["fit", "no\nfolder/r.json"], "folder/r.json"),
        (["fit", "\udcff"], "experiment"),
        (["fit", "--set", ""], "--set .. ''"),
        (["", "fit"], "command ''"),
        (["sweep", "exp1_30rr", "--rates", "1", "--replicas", "9" * 20], "--replicas"),
        (["validate", "a.json", "b.json", "--replicas", "9" * 20], "--replicas .. 1"),
        (["simulate", "--max-concurrency", "9" * 20], "too large"),
    ],
)
def test_hostile_words_are_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pysimbind: error: ")
    assert printed.err.count("\n") == 1
    assert tells(printed.err, message)


@pytest.mark.parametrize(
    ("words", "redirection", "code", "printed"),
    [
        ("fit --help", "| head -n 1", 0, "usage: "),
        ("fit --help", ">/dev/full", 2, "pysimbind: error: the report "),
        ("--version", ">&-", 0, ""),
        ("nope", "2>&-", 2, ""),
        ("nope", "2>/dev/full", 2, ""),
    ],
)
def test_streams_that_are_closed_or_full(
    words: str, redirection: str, code: int, printed: str, root: Path
) -> None:
    if "/dev/full" in redirection and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m pysimbind {words} {redirection}', sys.executable],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code
    assert "Traceback" not in done.stdout
    assert printed in done.stdout
    assert done.stdout.count("\n") <= 1


def test_no_home_is_needed(root: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "LANG")}
    done = subprocess.run(
        [sys.executable, "-m", "pysimbind", "simulate"],
        cwd=root,
        env=env | {"LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
