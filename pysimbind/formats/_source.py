"""A measurement file as the formats see it: bytes, text, JSON documents, files beside it."""

from __future__ import annotations

import csv
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from .._io.files import decode_text, parse_json, parse_json_at, read_bytes
from ..errors import ExperimentError

_ENDINGS = (".json", ".jsonl", ".csv", ".parquet", ".yaml", ".yml", ".txt", ".log")
_HEAD_BYTES = 65_536
_SPACE = re.compile(r"\s*")


class Source:
    """One file. ``where`` names it in errors. Everything but the bytes is computed on first use.

    ``head``, ``first`` and ``header`` serve to recognise a format, and never raise. Everything else
    raises ``ExperimentError`` with the file, and with the line if there is one.
    """

    def __init__(self, data: bytes, where: str, path: Path | None = None) -> None:
        self.data, self.where, self._path = data, where, path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Source:
        """Read a file, with gzip if its name ends in ``.gz``."""
        return cls(read_bytes(path, ExperimentError), str(path), Path(path))

    @property
    def name(self) -> str:
        """The file's name without its folder and usual endings."""
        name = os.path.basename(self.where).removesuffix(".gz")
        ending = os.path.splitext(name)[1]
        return name.removesuffix(ending) if ending in _ENDINGS else name

    @cached_property
    def text(self) -> str:
        """The whole file as text."""
        return decode_text(self.data, self.where, ExperimentError)

    @cached_property
    def head(self) -> str:
        """The beginning of the file as text, with marks for bytes that are not text."""
        return self.data[:_HEAD_BYTES].decode("utf-8-sig", errors="replace")

    @property
    def first(self) -> Any:
        """The first JSON document in the file; None if the file does not begin with one."""
        return self._first[0]

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The column names of a CSV file; empty if the file does not look like one."""
        lines = self.head.splitlines()[:2]
        if len(lines) < 2 or "\0" in self.head:
            return ()
        names, values = ([cell.strip() for cell in next(csv.reader([line]))] for line in lines)
        named = all(re.fullmatch(r"[A-Za-z_][\w .:/%()\[\]-]*", name) for name in names)
        return tuple(names) if named and len(names) == len(values) > 1 else ()

    def document(self) -> Any:
        """Return the whole file as one JSON document."""
        value, end = self._first
        if end and _SPACE.fullmatch(self.text, end):
            return value
        return parse_json(self.text, self.where, ExperimentError)

    def documents(self) -> list[tuple[str, Any]]:
        """Return all JSON documents of the file, each with its place: ``FILE: line N``."""
        found: list[tuple[str, Any]] = []
        at, line = 0, 1
        while True:
            start = self._skip_space(at)
            line += self.text.count("\n", at, start)
            if start == len(self.text):
                return found
            if found or not self._first[1]:
                value, end = parse_json_at(self.text, start, self.where, ExperimentError)
            else:
                value, end = self._first
            found.append((f"{self.where}: line {line}", value))
            line += self.text.count("\n", start, end)
            at = end

    def sibling(self, *names: str) -> Source | None:
        """Return the first of these files that exists beside this one."""
        if self._path is None:
            return None
        for name in names:
            path = self._path.with_name(name)
            if path.is_file():
                return Source.open(path)
        return None

    @cached_property
    def _first(self) -> tuple[Any, int]:
        """The first JSON document and its end; ``(None, 0)`` if there is none."""
        if not self.head.lstrip().startswith(("{", "[")):
            return None, 0
        try:
            return parse_json_at(self.text, self._skip_space(0), self.where, ExperimentError)
        except ExperimentError:
            return None, 0

    def _skip_space(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return at if match is None else match.end()
