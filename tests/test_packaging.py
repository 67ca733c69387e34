"""The library, sdist, wheel and editable install made from a copy of the checkout.

The oracles: the header's version number, asked of the loaded library, and the list of source files.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import setuptools

import build

from .facts import tells

LICENCES = ("LICENSE", "NOTICE")
GUIDES = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md")
SHIPPED = (
    *("build.py", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md"),
    *LICENCES,
    *GUIDES,
)
LIBRARY = f"pysimbind/{build.LIBRARY.name}"
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "_libpysimbind.*")


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """Return a copy of the checkout, without git and without anything compiled."""
    target = tmp_path / "pysimbind-copy"
    target.mkdir()
    for name in SHIPPED:
        shutil.copy(root / name, target)
    for name in ("go_shim", "pysimbind", "tests"):
        shutil.copytree(root / name, target / name, ignore=NOT_SOURCE)
    return target


def python(*arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def abi_version(library: Path) -> int:
    """Load a library, in a process of its own, and ask for its version."""
    script = f"import ctypes; print(ctypes.CDLL({str(library)!r}).psb_abi_version())"
    return int(python("-c", script, cwd=library.parent).stdout)


@pytest.mark.slow
def test_a_change_of_the_header_reaches_the_library(checkout: Path) -> None:
    # Go's build cache does not see headers outside of the module by itself.
    header = checkout / "pysimbind" / "_cdef.h"
    for version in (1001, 1002):
        text = re.sub(r"(PSB_ABI_VERSION) \d+", rf"\1 {version}", header.read_text("utf-8"))
        header.write_text(text, "utf-8")
        done = python("build.py", cwd=checkout)
        assert done.returncode == 0, done.stdout
        assert abi_version(checkout / LIBRARY) == version


needs_setuptools = pytest.mark.skipif(
    int(setuptools.__version__.split(".")[0]) < 77,
    reason="setuptools of this environment is older than pyproject.toml asks for",
)
PIP_WHEEL = ("-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", "out", ".")


def package_files(folder: Path) -> set[str]:
    """Return the files of the package in a source tree."""
    found = (folder / "pysimbind").rglob("*")
    names = {path.relative_to(folder).as_posix() for path in found if path.is_file()}
    return {name for name in names if "__pycache__" not in name and "_libpysimbind" not in name}


@needs_setuptools
@pytest.mark.slow
def test_sdist_gives_one_wheel_for_every_python(checkout: Path, tmp_path: Path) -> None:
    backend = "import setuptools.build_meta as b; b.build_sdist('dist')"
    done = python("-c", backend, cwd=checkout)
    assert done.returncode == 0, done.stdout
    (archive,) = (checkout / "dist").iterdir()
    python("-m", "tarfile", "-e", str(archive), str(tmp_path / "sdist"), cwd=tmp_path)
    (source,) = (tmp_path / "sdist").iterdir()
    assert {path.name for path in source.rglob("*_test.go")}, "the Go tests are shipped"
    assert (source / "tests" / "test_build.py").is_file()
    assert all((source / name).is_file() for name in SHIPPED)

    gone = source / "build" / f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    (gone / "pysimbind").mkdir(parents=True)
    (gone / "pysimbind" / "gone.py").write_text("", "utf-8")
    done = python(*PIP_WHEEL, cwd=source)
    assert done.returncode == 0, done.stdout
    (wheel,) = (source / "out").iterdir()
    assert re.fullmatch(r"pysimbind-[\d.]+-py3-none-(linux|macosx)_\w+\.whl", wheel.name)
    unpacked = tmp_path / "unpacked"
    shutil.unpack_archive(wheel, unpacked, "zip")
    packaged = {
        path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()
    }
    (info,) = unpacked.glob("*.dist-info")
    assert "Root-Is-Purelib: false" in (info / "WHEEL").read_text("utf-8")
    for name in LICENCES:
        assert (info / "licenses" / name).read_bytes() == (checkout / name).read_bytes()
    assert "License-Expression: Apache-2.0\n" in (info / "METADATA").read_text("utf-8")
    expected = package_files(checkout) | {LIBRARY}
    assert {name for name in packaged if not name.startswith(info.name)} == expected
    header = (checkout / "pysimbind" / "_cdef.h").read_text("utf-8")
    assert f"#define PSB_ABI_VERSION {abi_version(unpacked / LIBRARY)}\n" in header


@needs_setuptools
@pytest.mark.slow
def test_editable_install_points_at_the_source_tree(checkout: Path) -> None:
    backend = "import setuptools.build_meta as b; b.build_editable('out')"
    done = python("-c", backend, cwd=checkout)
    assert done.returncode == 0, done.stdout
    (wheel,) = (checkout / "out").iterdir()
    assert "-py3-none-" in wheel.name
    with zipfile.ZipFile(wheel) as file:
        assert not any(name.startswith("pysimbind/") for name in file.namelist())
        assert any(str(checkout) in file.read(name).decode("utf-8") for name in file.namelist())
    assert python("build.py", cwd=checkout).stdout == f"{LIBRARY} is up to date\n"


@pytest.mark.slow
@needs_setuptools
def test_pip_shows_the_line_and_no_traceback(checkout: Path) -> None:
    done = python(*PIP_WHEEL, cwd=checkout, CC="nocc")
    assert done.returncode == 1
    assert tells(done.stdout, "pysimbind: error: .. CC .. nocc")
    assert "Traceback" not in done.stdout
