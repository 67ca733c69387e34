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
from typing import Any

from .._io.files import decode_text, parse_json, read_bytes
from .._io.yaml_text import parse_yaml
from ..config import FIELDS, ServerConfig
from ..errors import ConfigError, InputError, nearest
from .flags import EXTRA, normalised, suggest, words

_BLOCK = ("name", "description", "model", "runs", "vllm", "benchmark")
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@,-]*")
_LONGEST_NAME = 120
_DEFAULT_HOST, _DEFAULT_PORT = "127.0.0.1", 8000
_NEEDS = "YAML needs PyYAML: pip install 'pysimbind[collect]' (or write it as .json)"
_EVERYWHERE = ("0.0.0.0", "::", "")


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
    that vLLM does not have, or a server setting that cannot be simulated.
    """
    where = str(path)
    runs: list[Run] = []
    for key, block, at in _blocks(_read_file(Path(path)), where, Path(path).stem):
        for run in _runs(key, block, at):
            twin = next((old for old in runs if old.path == run.path), None)
            if twin is not None:
                raise ConfigError(f"{at}: another run is named {run.path}: give each a name")
            runs.append(run)
    return tuple(runs)


def _read_file(path: Path) -> Any:
    """Parse a file by its ending: ``.json``, else YAML."""
    text = decode_text(read_bytes(path, ConfigError), str(path), ConfigError)
    if path.suffix == ".json":
        return parse_json(text, str(path), ConfigError)
    return parse_yaml(text, str(path), ConfigError, _NEEDS)


def _blocks(top: Any, where: str, stem: str) -> Iterator[tuple[str, Mapping[Any, Any], str]]:
    """Yield each block with its key and its place in the file."""
    _mapping(top, where)
    if "vllm" in top or "benchmark" in top:
        yield stem, top, f"{where}: "
        return
    inner, at = top, ""
    if set(top) == {"test"} and not {"vllm", "benchmark"} & set(_mapping(top["test"], where)):
        inner, at = top["test"], "test."
    if not inner:
        raise ConfigError(f"{where}: holds no block with vllm: and benchmark: sections")
    for key, block in inner.items():
        place = f"{where}: {at}{key}"
        if not isinstance(block, dict):
            hint = suggest(str(key), _BLOCK)
            raise ConfigError(f"{place}: neither a block nor a key of one{hint}")
        yield str(key), block, f"{place}."


def _runs(key: str, block: Mapping[Any, Any], at: str) -> Iterator[Run]:
    for name in block:
        if name not in _BLOCK:
            raise ConfigError(f"{at}{name}: unknown key{suggest(str(name), _BLOCK)}")
    folder = _folder(block.get("name", key), f"{at}name")
    vllm = dict(normalised(_section(block, "vllm", at), "vllm", f"{at}vllm"))
    model = _model(block, vllm, at)
    host = str(vllm.pop("host", _DEFAULT_HOST))
    port = _whole(vllm.pop("port", _DEFAULT_PORT), 1, f"{at}vllm.port")
    repeats = _whole(block.get("runs", 1), 1, f"{at}runs")
    served = vllm.get("served_model_name")
    entries = list(_entries(block, at))
    for entry, place, label in entries:
        for bench, suffix in _by_rate(normalised(entry, "benchmark", place), place):
            parts = [*([label] if label else []), *suffix]
            for repeat in range(1, repeats + 1):
                yield Run(
                    block=folder,
                    name="-".join([*parts, f"run-{repeat}"]),
                    model=model,
                    served_name=served[0] if isinstance(served, list) else served,
                    host=host,
                    port=port,
                    serve=tuple(words(vllm, "vllm", f"{at}vllm")),
                    bench=tuple(words(bench, "benchmark", place)),
                    config=_server_config(vllm, f"{at}vllm"),
                    settings=_settings(model, vllm, bench),
                )


def _settings(model: str, vllm: dict[str, Any], bench: dict[str, Any]) -> dict[str, Any]:
    both = (("vllm", vllm), ("benchmark", bench))
    return {"model": model} | {f"{s}.{k}": v for s, each in both for k, v in each.items()}


def _section(block: Mapping[Any, Any], name: str, at: str) -> Mapping[Any, Any]:
    if name not in block:
        raise ConfigError(f"{at}{name}: missing{nearest(name, map(str, block))}")
    return _mapping(block[name], f"{at}{name}")


def _mapping(value: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: must be a mapping of keys to values, got {value!r:.60}")
    return value


def _entries(
    block: Mapping[Any, Any], at: str
) -> Iterator[tuple[Mapping[Any, Any], str, str | None]]:
    """Yield each benchmark of a block, its place, and its name where there are several."""
    given = block.get("benchmark")
    if not isinstance(given, list):
        yield _section(block, "benchmark", at), f"{at}benchmark", None
        return
    if not given:
        raise ConfigError(f"{at}benchmark: the list is empty")
    for i, item in enumerate(given):
        place = f"{at}benchmark[{i}]"
        entry = dict(_mapping(item, place))
        default = f"bench-{i + 1}" if len(given) > 1 else None
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
        except (TypeError, ValueError):
            good = False
        if not good:
            raise ConfigError(f"{place}.request_rate: must be > 0 requests/s or inf, got {rate!r}")
        yield bench | {"request_rate": rate}, (f"rate-{float(rate):g}",)


def _model(block: Mapping[Any, Any], vllm: dict[str, Any], at: str) -> str:
    """Take the model from the block or its server section, out of the latter's flags."""
    own = vllm.pop("model", None)
    model = block.get("model") if own is None else own
    if own is not None and block.get("model") not in (None, own):
        raise ConfigError(f"{at}vllm.model: {own!r} is not the block's model {block['model']!r}")
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


def _whole(value: Any, least: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**16:
        raise ConfigError(f"{where}: must be a whole number from {least} to 65535, got {value!r}")
    return value


def _server_config(vllm: Mapping[str, Any], where: str) -> ServerConfig:
    """Read the settings that are simulated."""
    fields = {"num_gpu_blocks_override", *FIELDS}
    modelled = {flag: v for flag, v in vllm.items() if flag in fields and flag != EXTRA}
    try:
        return ServerConfig.from_vllm_args(words(modelled, "vllm", where))
    except InputError as exc:
        raise ConfigError(f"{where}: {exc}") from exc
