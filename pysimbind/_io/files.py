"""Reading and writing the files of this package: one-line errors in, whole files out."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import secrets
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError

_DECODER = json.JSONDecoder()


def read_bytes(path: str | os.PathLike[str], error: type[InputError]) -> bytes:
    """Return what a file holds, decompressed where its name ends in ``.gz``.

    Raises ``error``, naming the file, where it cannot be read.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise error(f"{path}: not a complete gzip file ({exc})") from exc
    except OSError as exc:
        raise error(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def decode_text(data: bytes, where: str, error: type[InputError]) -> str:
    """Decode UTF-8, with or without a byte order mark; raise ``error`` for anything else."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise error(f"{where}: not a text file in UTF-8 (byte {exc.start})") from exc


def read_json(path: str | os.PathLike[str], error: type[InputError]) -> Any:
    """Parse a JSON file (gzip where the name ends in ``.gz``).

    Raises ``error`` with the file, and the line and column of a syntax error.
    """
    return parse_json(decode_text(read_bytes(path, error), str(path), error), str(path), error)


def parse_json(text: str, where: str, error: type[InputError]) -> Any:
    """Parse ``text``; raise ``error`` naming ``where``, line and column of a syntax error."""
    with _syntax_errors(where, error):
        return json.loads(text)


def parse_json_at(text: str, at: int, where: str, error: type[InputError]) -> tuple[Any, int]:
    """Parse the JSON document that begins at ``text[at]``; return it and where it ends."""
    with _syntax_errors(where, error):
        return _DECODER.raw_decode(text, at)


@contextlib.contextmanager
def _syntax_errors(where: str, error: type[InputError]) -> Iterator[None]:
    try:
        yield
    except json.JSONDecodeError as exc:
        mend = ""
        if exc.msg == "Extra data":
            mend = " (more than one JSON document in the file? keep one)"
        raise error(
            f"{where}: line {exc.lineno}, column {exc.colno}: not valid JSON: {exc.msg}{mend}"
        ) from exc
    except RecursionError as exc:
        raise error(f"{where}: not valid JSON: nested too deeply") from exc
    except ValueError as exc:  # an integer with more digits than Python converts
        raise error(f"{where}: not valid JSON: {exc}") from exc


def dump_json(value: Any, indent: int = 0) -> str:
    """Write ``value`` as JSON with every key, and every list of scalars, on one line of its own.

    Floats keep every digit. NaN and infinities raise ``ValueError``: JSON has no word for them.
    """
    pad, close = " " * (indent + 1), " " * indent
    if isinstance(value, dict) and value:
        lines = [f"{json.dumps(str(k))}: {dump_json(v, indent + 1)}" for k, v in value.items()]
        return "{\n" + ",\n".join(pad + line for line in lines) + f"\n{close}}}"
    if isinstance(value, (list, tuple)) and any(isinstance(v, (dict, list)) for v in value):
        rows = [pad + dump_json(v, indent + 1) for v in value]
        return "[\n" + ",\n".join(rows) + f"\n{close}]"
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` to ``path`` in one piece: a reader sees the old file or the new one.

    Compressed where the name ends in ``.gz``. Raises ``OutputError`` where the file cannot be
    written, or JSON cannot hold the value; nothing is left behind then.
    """
    path = Path(path)
    try:
        data = (dump_json(value) + "\n").encode()
    except (TypeError, ValueError) as exc:
        raise OutputError(f"{path}: cannot be written as JSON: {exc}") from exc
    write_bytes(path, data)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` as ``write_json`` writes its text: in one piece, compressed for ``.gz``."""
    path = Path(path)
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)  # no time stamp: same content, same bytes
    target = Path(os.path.realpath(path))  # a link stays a link
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        if target.exists() and not target.is_file():  # a folder, /dev/null: never replace those
            raise OutputError(f"{path}: cannot be written: not a regular file")
        with temporary.open("xb") as file:
            file.write(data)
        os.replace(temporary, target)
    except OSError as exc:
        raise OutputError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
    finally:
        with contextlib.suppress(OSError):  # gone after the replacement
            temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise ``OutputError`` unless a file can be written at ``path``; leaves nothing behind."""
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: cannot be written: it exists and is not a file")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as exc:
        raise OutputError(f"{path}: cannot be written: {exc.strerror or exc}") from exc
