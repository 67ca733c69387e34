"""Reading YAML, with PyYAML: the extras ``yaml`` and ``collect``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ..errors import InputError, MissingExtraError


def parse_yaml(text: str, where: str, error: type[InputError], need: str) -> Any:
    """Parse a text; ``where`` names it in errors, of the class ``error``.

    They have line and column of a syntax error or of a key that is given twice. Raises
    ``MissingExtraError`` without PyYAML, whose message ends with ``need``: how to get it.
    """
    try:
        import yaml
    except ImportError as exc:
        raise MissingExtraError(f"{where}: {need}") from exc

    class Loader(yaml.SafeLoader):
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
        raise error(f"{where}: {at}not valid YAML: {exc.problem}") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        first = str(exc).splitlines()[0] if str(exc) else "nested too deeply"
        raise error(f"{where}: not valid YAML: {first}") from exc
