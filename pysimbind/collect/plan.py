"""What is to be measured: the blocks of a collect file, checked, as a list of runs.

The file is the original experiment's, one block or several by name, below ``test:`` or not::

    baseline:
      name: exp1                  optional: the block's folder; its key where left out
      description: text           optional
      model: Qwen/Qwen2.5-0.5B    here, or as vllm.model
      runs: 1                     optional: how often each run is repeated
      vllm: {...}                 flags of `vllm serve`, with underscores
      benchmark: {...}            flags of `vllm bench serve`; or a list of such, each with an
                                  optional `name`; a list of request_rate gives a run for each

A file of one block may hold its keys at the top; the block is then named by ``name`` or the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from .._io.files import decode_text, parse_json, read_bytes
from .._io.schema import decode
from .._io.yaml_text import parse_yaml
from ..config import ServerConfig
from ..errors import ConfigError, InputError, nearest
from .flags import Value, normalised, words

_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@,-]*")
_LONGEST_NAME = 120
_DEFAULT_HOST, _DEFAULT_PORT = "127.0.0.1", 8000
_NEEDS = "YAML needs PyYAML: pip install 'pysimbind[collect]' (or write it as .json)"
_EVERYWHERE = ("0.0.0.0", "::", "")

Section = dict[str, Value]


class _Block(msgspec.Struct, forbid_unknown_fields=True):
    """A block of the file, as above."""

    vllm: Section
    benchmark: Section | Annotated[list[Section], msgspec.Meta(min_length=1)]
    name: str | int | float | None = None
    description: Any = None
    model: str | None = None
    runs: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1


_KEYS = _Block.__struct_fields__


@dataclass(frozen=True)
class Run:
    """One measurement: a server, a benchmark, and the folder ``block/name`` for what comes of it.

    ``serve``, ``bench``: the words after ``vllm serve MODEL`` and ``vllm bench serve`` that the
    file gives. ``settings``: flag -> value of all that bears on the result, as the file has it.
    """

    block: str
    name: str
    model: str
    served_name: str | None
    host: str
    port: int
    serve: tuple[str, ...]
    bench: tuple[str, ...]
    config: ServerConfig
    settings: Mapping[str, Any]

    @property
    def path(self) -> str:
        """The run's name in messages and its folder below the output folder."""
        return f"{self.block}/{self.name}"

    @property
    def base_url(self) -> str:
        """Where the server that is started for this run answers."""
        host = _DEFAULT_HOST if self.host in _EVERYWHERE else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def serve_command(self, vllm: Iterable[str]) -> list[str]:
        """Return the command that starts the server; ``vllm``: words that call vLLM."""
        at = ["--host", self.host, "--port", str(self.port)]
        return [*vllm, "serve", self.model, *at, *self.serve]

    def bench_command(self, vllm: Iterable[str], base_url: str, folder: str) -> list[str]:
        """Return the command that measures, and writes ``raw.json`` into ``folder``."""
        called = [] if self.served_name is None else ["--served-model-name", self.served_name]
        whom = ["--base-url", base_url, "--model", self.model, *called]
        where = ["--result-dir", folder, "--result-filename", "raw.json"]
        saved = ["--save-result", "--save-detailed", *where]
        return [*vllm, "bench", "serve", *whom, *self.bench, *saved]


def read_plan(path: str | os.PathLike[str]) -> tuple[Run, ...]:
    """Return the runs of a collect file, in its order.

    Raises ``ConfigError`` naming file and key for anything that is not of the shape above, a flag
    that must not be there, or a server setting that cannot be simulated.
    """
    where = str(path)
    runs: list[Run] = []
    for key, obj, at in _blocks(_read_file(Path(path)), where, Path(path).stem):
        block = decode(obj, _Block, where, ConfigError, at)
        place = f"{where}: {at}." if at else f"{where}: "
        for run in _runs(key, block, place):
            twin = next((old for old in runs if old.path == run.path), None)
            if twin is not None:
                raise ConfigError(f"{place}name: another run is named {run.path}")
            runs.append(run)
    return tuple(runs)


def _read_file(path: Path) -> Any:
    """Parse a file by its ending: ``.json``, else YAML."""
    text = decode_text(read_bytes(path, ConfigError), str(path), ConfigError)
    if path.suffix == ".json":
        return parse_json(text, str(path), ConfigError)
    return parse_yaml(text, str(path), ConfigError, _NEEDS)


def _blocks(top: Any, where: str, stem: str) -> Iterator[tuple[str, object, str]]:
    """Yield the name of each block, itself, and its place in the file."""
    inner, at = decode(top, dict[str, Any], where, ConfigError), ""
    if _is_block(inner):
        yield stem, inner, at
        return
    if set(inner) == {"test"}:
        test = decode(inner["test"], dict[str, Any], where, ConfigError, "test")
        inner, at = (inner, "") if _is_block(test) else (test, "test.")
    if not inner:
        raise ConfigError(f"{where}: holds no block with vllm: and benchmark: sections")
    for key, block in inner.items():
        place = at + (key if key.isprintable() else repr(key))
        if not isinstance(block, dict):
            hint = nearest(key, _KEYS)
            raise ConfigError(f"{where}: {place}: neither a block nor a key of one{hint}")
        yield key, block, place


def _is_block(obj: Mapping[str, Any]) -> bool:
    return "vllm" in obj or "benchmark" in obj


def _runs(key: str, block: _Block, at: str) -> Iterator[Run]:
    folder = _folder(key if block.name is None else block.name, f"{at}name")
    vllm = normalised(block.vllm, "vllm", f"{at}vllm")
    model = _model(block, vllm, at)
    host = _string(vllm.pop("host", _DEFAULT_HOST), f"{at}vllm.host")
    port = _port(vllm.pop("port", _DEFAULT_PORT), f"{at}vllm.port")
    served = _served_name(vllm.get("served_model_name"), f"{at}vllm.served_model_name")
    serve = tuple(words(vllm, "vllm"))
    config = _server_config(serve, f"{at}vllm")
    for entry, place, label in _entries(block, at):
        for bench, suffix in _by_rate(normalised(entry, "benchmark", place), place):
            parts = [*([label] if label else []), *suffix]
            for repeat in range(1, block.runs + 1):
                yield Run(
                    block=folder,
                    name="-".join([*parts, f"run-{repeat}"]),
                    model=model,
                    served_name=served,
                    host=host,
                    port=port,
                    serve=serve,
                    bench=tuple(words(bench, "benchmark")),
                    config=config,
                    settings=_settings(model, vllm, bench),
                )


def _settings(model: str, vllm: dict[str, Any], bench: dict[str, Any]) -> dict[str, Any]:
    both = (("vllm", vllm), ("benchmark", bench))
    return {"model": model} | {f"{s}.{k}": v for s, each in both for k, v in each.items()}


def _entries(block: _Block, at: str) -> Iterator[tuple[Section, str, str | None]]:
    """Yield each benchmark of a block, its place, and its name where there are several."""
    if isinstance(block.benchmark, dict):
        yield block.benchmark, f"{at}benchmark", None
        return
    for i, item in enumerate(block.benchmark):
        place = f"{at}benchmark[{i}]"
        entry = dict(item)
        default = f"bench-{i + 1}" if len(block.benchmark) > 1 else None
        label = entry.pop("name", default)
        yield entry, place, None if label is None else _folder(label, f"{place}.name")


def _by_rate(bench: dict[str, Any], place: str) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
    rates = bench.get("request_rate")
    if rates is None:
        yield bench, ()
        return
    if rates == []:
        raise ConfigError(f"{place}.request_rate: the list is empty")
    for rate in rates if isinstance(rates, list) else [rates]:
        try:
            good = not isinstance(rate, bool) and float(rate) > 0
        except (OverflowError, TypeError, ValueError):
            good = False
        if not good:
            raise ConfigError(f"{place}.request_rate: must be > 0 requests/s or inf, got {rate!r}")
        yield bench | {"request_rate": rate}, (f"rate-{float(rate):g}",)


def _model(block: _Block, vllm: dict[str, Any], at: str) -> str:
    """Take the model from the block or its server section, out of the latter's flags."""
    own = vllm.pop("model", None)
    model = block.model if own is None else own
    if own is not None and block.model not in (None, own):
        raise ConfigError(f"{at}vllm.model: {own!r} is not the block's model {block.model!r}")
    if not isinstance(model, str) or not model or model.startswith("-"):
        raise ConfigError(f"{at}model: must name the model to serve, got {model!r:.60}")
    return model


def _served_name(given: object, where: str) -> str | None:
    """Return the name by which the benchmark calls the model: the first of several."""
    if given is None:
        return None
    return _string(given[0] if isinstance(given, list) and given else given, where)


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where}: must be a string, got {value!r:.60}")
    return value


def _folder(name: object, where: str) -> str:
    text = str(name)
    if not _FOLDER.fullmatch(text) or len(text) > _LONGEST_NAME:
        raise ConfigError(
            f"{where}: {text!r:.60} cannot name a folder: letters, digits and _ . + = @ , - please"
        )
    return text


def _port(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise ConfigError(f"{where}: must be a whole number from 1 to 65535, got {value!r:.60}")
    return value


def _server_config(serve: Iterable[str], where: str) -> ServerConfig:
    """Read the settings that are simulated."""
    try:
        return ServerConfig.from_vllm_args(serve)
    except InputError as exc:
        raise ConfigError(f"{where}: {exc}") from exc
