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
from .flags import normalised, words

_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@,-]*")
_LONGEST_NAME = 120
_DEFAULT_HOST, _DEFAULT_PORT = "127.0.0.1", 8000
_NEEDS = "YAML needs PyYAML: pip install 'pysimbind[collect]' (or write it as .json)"
_EVERYWHERE = ("0.0.0.0", "::", "")


class Block(msgspec.Struct, forbid_unknown_fields=True):
    """A block of the file, as it stands there."""

    vllm: dict[str, Any]
    benchmark: dict[str, Any] | list[dict[str, Any]]
    name: str | int | float | None = None
    description: Any = None
    model: str | None = None
    runs: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1


_BLOCK = Block.__struct_fields__
_Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


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
    that collect must set itself, or a server setting that cannot be simulated.
    """
    where = str(path)
    runs: list[Run] = []
    for key, block, place in _blocks(_read_file(Path(path)), where, Path(path).stem):
        for run in _runs(key, block, where, place):
            twin = next((old for old in runs if old.path == run.path), None)
            if twin is not None:
                raise ConfigError(
                    f"{where}: {place or key}: another run is named {run.path}: give each a name"
                )
            runs.append(run)
    return tuple(runs)


def _read_file(path: Path) -> Any:
    """Parse a file by its ending: ``.json``, else YAML."""
    text = decode_text(read_bytes(path, ConfigError), str(path), ConfigError)
    if path.suffix == ".json":
        return parse_json(text, str(path), ConfigError)
    return parse_yaml(text, str(path), ConfigError, _NEEDS)


def _blocks(top: Any, where: str, stem: str) -> Iterator[tuple[str, Any, str]]:
    """Yield each block with its key and its place in the file."""
    top = _mapping(_with_texts_as_keys(top), where)
    if "vllm" in top or "benchmark" in top:
        yield stem, top, ""
        return
    inner, at = top, ""
    if set(top) == {"test"} and not {"vllm", "benchmark"} & set(_mapping(top["test"], where)):
        inner, at = top["test"], "test."
    if not inner:
        raise ConfigError(f"{where}: holds no block with vllm: and benchmark: sections")
    for key, block in inner.items():
        if not isinstance(block, dict):
            hint = nearest(key, _BLOCK) or f" (known: {', '.join(_BLOCK)})"
            raise ConfigError(f"{where}: {at}{key}: neither a block nor a key of one{hint}")
        yield key, block, f"{at}{key}"


def _with_texts_as_keys(value: Any) -> Any:
    """Return a value whose mappings have texts as keys: YAML's may be numbers."""
    if isinstance(value, dict):
        return {str(key): _with_texts_as_keys(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_texts_as_keys(each) for each in value]
    return value


def _runs(key: str, obj: Any, where: str, place: str) -> Iterator[Run]:
    block = decode(obj, Block, where, ConfigError, place)
    at = f"{where}: {place}." if place else f"{where}: "
    folder = _folder(key if block.name is None else block.name, f"{at}name")
    vllm = dict(normalised(block.vllm, "vllm", f"{at}vllm"))
    model = _model(block, vllm, at)
    host = str(vllm.pop("host", _DEFAULT_HOST))
    port = decode(vllm.pop("port", _DEFAULT_PORT), _Port, f"{at}vllm.port", ConfigError)
    served = vllm.get("served_model_name")
    for entry, entry_at, label in _entries(block, at):
        for bench, suffix in _by_rate(normalised(entry, "benchmark", entry_at), entry_at):
            parts = [*([label] if label else []), *suffix]
            for repeat in range(1, block.runs + 1):
                yield Run(
                    block=folder,
                    name="-".join([*parts, f"run-{repeat}"]),
                    model=model,
                    served_name=served[0] if isinstance(served, list) else served,
                    host=host,
                    port=port,
                    serve=tuple(words(vllm, "vllm", f"{at}vllm")),
                    bench=tuple(words(bench, "benchmark", entry_at)),
                    config=_server_config(vllm, f"{at}vllm"),
                    settings=_settings(model, vllm, bench),
                )


def _settings(model: str, vllm: dict[str, Any], bench: dict[str, Any]) -> dict[str, Any]:
    both = (("vllm", vllm), ("benchmark", bench))
    return {"model": model} | {f"{s}.{k}": v for s, each in both for k, v in each.items()}


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping of keys to values, got {value!r:.60}")
    return value


def _entries(block: Block, at: str) -> Iterator[tuple[dict[str, Any], str, str | None]]:
    """Yield each benchmark of a block, its place, and its name where there are several."""
    given = block.benchmark
    if isinstance(given, dict):
        yield given, f"{at}benchmark", None
        return
    if not given:
        raise ConfigError(f"{at}benchmark: the list is empty")
    for i, item in enumerate(given):
        place = f"{at}benchmark[{i}]"
        entry = dict(item)
        label = entry.pop("name", f"bench-{i + 1}" if len(given) > 1 else None)
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
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ConfigError(f"{place}.request_rate: must be > 0 requests/s or inf, got {rate!r}")
        yield bench | {"request_rate": rate}, (f"rate-{float(rate):g}",)


def _model(block: Block, vllm: dict[str, Any], at: str) -> str:
    """Take the model from the block or its server section, out of the latter's flags."""
    own = vllm.pop("model", None)
    model = block.model if own is None else own
    if own is not None and block.model not in (None, own):
        raise ConfigError(f"{at}vllm.model: {own!r} is not the block's model {block.model!r}")
    if not isinstance(model, str) or not model or model.startswith("-"):
        raise ConfigError(f"{at}model: must name the model to serve, got {model!r:.60}")
    return model


def _folder(name: Any, where: str) -> str:
    text = str(name)
    if not _FOLDER.fullmatch(text) or len(text) > _LONGEST_NAME:
        raise ConfigError(
            f"{where}: {text!r:.60} cannot name a folder: letters, digits and _ . + = @ , - please"
        )
    return text


def _server_config(vllm: Mapping[str, Any], where: str) -> ServerConfig:
    """Read the settings that are simulated; flags that are not are vLLM's alone."""
    try:
        return ServerConfig.from_vllm_args(words(vllm, "vllm", where))
    except InputError as exc:
        raise ConfigError(f"{where}: {exc}") from exc
