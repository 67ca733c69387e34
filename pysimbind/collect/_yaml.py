"""Reading a collect file: YAML with the extra ``collect``, JSON without it."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from .._jsonio import read_json
from ..errors import ConfigError, MissingExtraError


def read_file(path: str | os.PathLike[str]) -> Any:
    """Parse a file by its ending: ``.json``, else YAML.

    Raises ``ConfigError`` with file, line and column for a syntax error or a key given twice, and
    ``MissingExtraError`` for YAML without PyYAML.
    """
    path = Path(path)
    if path.suffix == ".json":
        return read_json(path, ConfigError)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not a text file in UTF-8 (byte {exc.start})") from exc
    return _parse(text, str(path))


def _parse(text: str, where: str) -> Any:
    yaml = _require_yaml(where)

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]  # a class made at run time
        """YAML's safe loader, which would let the last of two equal keys win."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            seen = set()
            for key_node, _ in node.value:
                key = key_node.value if isinstance(key_node.value, str) else None
                if key is not None and key != "<<" and key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key)
            result: dict[Hashable, Any] = super().construct_mapping(node, deep)
            return result

    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{where}: {at}not valid YAML: {exc.problem}") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        first = str(exc).splitlines()[0] if str(exc) else "nested too deeply"
        raise ConfigError(f"{where}: not valid YAML: {first}") from exc


def _require_yaml(where: str) -> Any:
    try:
        import yaml
    except ImportError as exc:
        raise MissingExtraError(
            f"{where}: YAML needs PyYAML: pip install 'pysimbind[collect]' (or write it as .json)"
        ) from exc
    return yaml
