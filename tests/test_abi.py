"""The C ABI is declared once and all sides agree: oracle is the text of _cdef.h itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import build
from pysimbind import _native, models, results, trace

CDEF = build.CDEF.read_text("utf-8")
DECLARED = set(re.findall(r"^\w+ (psb_\w+)\(", CDEF, re.MULTILINE))
TYPES = set(re.findall(r"^} (psb_\w+);", CDEF, re.MULTILINE))
DEFINED = {name: int(value) for name, value in re.findall(r"#define (PSB_\w+) (\d+)", CDEF)}


def go_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.go") if not path.name.endswith("_test.go")]


def imports(path: Path) -> set[str]:
    """Return what a Go file imports."""
    text = path.read_text("utf-8")
    blocks = re.findall(r"^import \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
    lines = [*"\n".join(blocks).splitlines(), *re.findall(r"^import (.*)$", text, re.MULTILINE)]
    return {found[1] for line in lines if (found := re.search(r'"(.+?)"', line))}


def test_go_exports_exactly_what_is_declared() -> None:
    exported = {
        name
        for path in go_files(build.SHIM)
        for name in re.findall(r"^//export (\w+)$", path.read_text("utf-8"), re.MULTILINE)
    }
    assert exported == DECLARED


def test_python_calls_exactly_what_is_declared() -> None:
    native = (build.PACKAGE / "_native.py").read_text("utf-8")
    assert set(re.findall(r"\bpsb_[a-z_]+\b", native)) - TYPES == DECLARED


def test_only_one_module_makes_foreign_calls() -> None:
    users = {
        path.relative_to(build.PACKAGE).as_posix()
        for path in build.PACKAGE.rglob("*.py")
        if re.search(r"^\s*(import|from) (cffi|ctypes)\b", path.read_text("utf-8"), re.MULTILINE)
    }
    assert users == {"_native.py"}


def test_the_header_counts_the_parameters() -> None:
    assert DEFINED["PSB_NUM_OVERHEADS"] == len(models.OVERHEADS)


def test_python_uses_the_numbers_of_the_header() -> None:
    engines = {f"PSB_ENGINE_{name.upper()}": code for name, code in _native.ENGINES.items()}
    semantics = {
        f"PSB_{re.sub('[-.]', '_', name.upper())}": code
        for name, code in _native._SEMANTICS.items()
    }
    jacobians = {f"PSB_JACOBIAN_{name.upper()}": code for name, code in _native.JACOBIANS.items()}
    numbers = engines | semantics | jacobians | {"PSB_ABI_VERSION": _native.ABI_VERSION}
    assert numbers == {name: DEFINED[name] for name in numbers}


def test_python_names_the_columns_of_the_header() -> None:
    def columns(prefix: str) -> list[int]:
        rows = {k: v for k, v in DEFINED.items() if k.startswith(prefix)}
        return [v for k, v in rows.items() if not k.endswith(("_COLUMNS", "_ROWS"))]

    for prefix, names in (
        ("PSB_SUMMARY_", results.SUMMARY),
        ("PSB_DETAIL_", results.DETAIL),
        ("PSB_TIME_", trace.TIMES),
        ("PSB_COUNT_", trace.COUNTS),
        ("PSB_ENTRY_", trace.ENTRIES),
    ):
        assert columns(prefix) == list(range(len(names)))


def test_the_compiled_library_has_what_is_declared() -> None:
    # In a process of its own: a Go runtime cannot be unloaded again.
    script = f"""
import cffi, json
ffi = cffi.FFI()
ffi.cdef(open({str(build.CDEF)!r}, encoding="utf-8").read())
library = ffi.dlopen({str(build.LIBRARY)!r})
found = {{name: getattr(library, name) for name in dir(library)}}
version = library.psb_abi_version()
print(json.dumps([version, [name for name, it in found.items() if not isinstance(it, int)]]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    version, functions = json.loads(done.stdout)
    assert set(functions) == DECLARED
    assert version == DEFINED["PSB_ABI_VERSION"]


@pytest.mark.parametrize("path", go_files(build.SHIM / "sim"), ids=lambda path: path.name)
def test_the_engine_is_pure_go(path: Path) -> None:
    forbidden = {"C", "io", "log", "log/slog", "net", "os", "syscall", "unsafe"}
    assert not imports(path) & forbidden
    assert all("." not in name.split("/")[0] for name in imports(path)), "standard library only"


def test_imports_reads_both_forms(tmp_path: Path) -> None:
    source = tmp_path / "x.go"
    source.write_text('package x\n\nimport "os"\n\nimport (\n\t"fmt"\n\tl "log"\n)\n', "utf-8")
    assert imports(source) == {"os", "fmt", "log"}
