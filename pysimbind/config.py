"""The server's settings, in vLLM's flag names and with vLLM's defaults."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import ConfigError, nearest
from .vllm import flags

# The settings that each semantics ignores, with the value that it uses instead. Each semantics
# that a user may choose has a line here.
_DOES_ANYWAY: Mapping[str, Mapping[str, object]] = {
    # Prompts are prefilled whole. A request is admitted only if all blocks of its prompt are free.
    "blis-2025-07": {
        "max_model_len": None,
        "enable_chunked_prefill": False,
        "long_prefill_token_threshold": 0,
        "scheduler_reserve_full_isl": True,
        "watermark": 0.0,
        "async_scheduling": False,
    },
    "vllm-v1": {},
    # Prefills are chunked. Admission needs free blocks for the first chunk only.
    "vllm-v1-0.9.1": {
        "enable_chunked_prefill": True,
        "scheduler_reserve_full_isl": False,
        "watermark": 0.0,
        "async_scheduling": False,
    },
}
SEMANTICS: tuple[str, ...] = tuple(_DOES_ANYWAY)
DEFAULT_SEMANTICS = "vllm-v1"

# The smallest value of each integer field. The fields in _OPTIONAL may be None.
_LEAST = {
    "max_num_seqs": 1,
    "max_num_batched_tokens": 1,
    "block_size": 1,
    "num_gpu_blocks": 1,
    "max_model_len": 1,
    "long_prefill_token_threshold": 0,
}
_OPTIONAL = ("num_gpu_blocks", "max_model_len", "horizon_s")


@dataclass(frozen=True)
class ServerConfig:
    """How the server schedules: vLLM's flags, and the semantics to simulate.

    Raises ``ConfigError`` for a value of the wrong type or out of range.
    """

    max_num_seqs: int = 256
    """Most requests that run at once."""
    max_num_batched_tokens: int = 2048
    """Most tokens in one step (the token budget)."""
    block_size: int = 16
    """Tokens in a KV block."""
    num_gpu_blocks: int | None = None
    """KV blocks of the pool, as vLLM counts them; None: unlimited."""
    max_model_len: int | None = None
    """Most tokens of a request, prompt and output together; None: no limit."""
    enable_prefix_caching: bool = True
    """Whether prompts reuse KV blocks of equal beginnings."""
    enable_chunked_prefill: bool = True
    """Whether a prompt may be prefilled in several steps."""
    long_prefill_token_threshold: int = 0
    """Most prompt tokens of one request in one step; 0: no limit."""
    scheduler_reserve_full_isl: bool = True
    """Whether admission needs free blocks for the whole prompt."""
    watermark: float = 0.0
    """Share w of the blocks that admission keeps free, 0 <= w < 1."""
    async_scheduling: bool = False
    """Whether a step is scheduled while the step before it still runs."""
    semantics: str = DEFAULT_SEMANTICS
    """Name of the scheduler's rules, one of ``SEMANTICS``."""
    horizon_s: float | None = None
    """Simulated seconds after which the run stops; None: run to the end."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = _checked(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> ServerConfig:
        """Make a config from field names. Missing fields keep their defaults."""
        if not isinstance(mapping, Mapping):
            raise ConfigError(f"server settings must be a mapping, got {type(mapping).__name__}")
        _known(mapping)
        return cls(**mapping)

    @classmethod
    def from_vllm_args(cls, args: str | Iterable[str], **fields: Any) -> ServerConfig:
        """Make a config from the flags of ``vllm serve``. Keyword ``fields`` override the flags.

        Flags that the simulator does not model are skipped. Raises ``ConfigError`` for a bad value
        or a misspelt flag.
        """
        return cls.from_mapping({**flags.parse(args), **fields})

    def replace(self, **changes: Any) -> ServerConfig:
        """Return a copy with some fields changed.

        ``kv_cache_tokens`` may stand for ``num_gpu_blocks``: see ``with_kv_cache_tokens``.
        """
        fields, tokens = split_pool(changes)
        _known(fields)
        changed = dataclasses.replace(self, **fields)
        return changed if tokens is None else changed.with_kv_cache_tokens(tokens)

    def with_kv_cache_tokens(self, tokens: int) -> ServerConfig:
        """Return a copy whose ``num_gpu_blocks`` hold ``tokens`` tokens.

        vLLM logs this number when it starts, as ``GPU KV cache size: N tokens``. It counts whole
        blocks, including the null block. vLLM computes it from sequences of ``max_model_len``
        tokens, so set that field too. Raises ``ConfigError`` for less than one block.
        """
        try:
            blocks = self._blocks(operator.index(tokens))
        except TypeError:
            blocks = 0
        if blocks < 1:
            raise ConfigError(
                f"tokens of KV cache must be an integer, at least one block of {self.block_size}, "
                f"got {tokens!r}"
            )
        return self.replace(num_gpu_blocks=blocks)

    def _blocks(self, tokens: int) -> int:
        """Return the number of blocks of a pool that vLLM logs as ``tokens`` tokens.

        Older releases logged blocks x block_size. ``get_kv_cache_capacity`` of vLLM 0.32 computes
        how many sequences of max_model_len fit, each in whole blocks, and truncates the product.
        """
        blocks, rest = divmod(tokens, self.block_size)
        if rest and self.max_model_len is not None:
            each = -(-self.max_model_len // self.block_size)
            pool = -(-tokens * each // self.max_model_len)
            if int(pool / each * self.max_model_len) == tokens:
                return pool
        return blocks

    def as_dict(self) -> dict[str, Any]:
        """Return field -> value. ``from_mapping`` makes an equal config from it."""
        return dataclasses.asdict(self)

    @property
    def unmodelled(self) -> tuple[str, ...]:
        """The fields that the chosen semantics ignores, and whose value it does not use."""
        anyway = _DOES_ANYWAY[self.semantics]
        return tuple(n for n in FIELDS if n in anyway and getattr(self, n) != anyway[n])


FIELDS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(ServerConfig))
"""The names of the settings, in order."""

FLAGS: tuple[str, ...] = flags.SWITCHES
"""The settings that are on or off."""


POOL = "kv_cache_tokens"
"""Another way to set ``num_gpu_blocks``: the size of the KV pool in tokens."""


def split_pool(settings: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Separate ``kv_cache_tokens`` (None if absent) from the fields of ``ServerConfig``.

    Raises ``ConfigError`` if the size of the pool is given twice.
    """
    fields = dict(settings)
    tokens = fields.pop(POOL, None)
    if tokens is not None and "num_gpu_blocks" in fields:
        raise ConfigError(f"num_gpu_blocks and {POOL} are sizes of the same pool: give one of them")
    return fields, tokens


def _known(names: Iterable[object]) -> None:
    for name in names:
        if name not in FIELDS:
            raise ConfigError(f"unknown server setting {name!r}{nearest(str(name), FIELDS)}")


def _checked(name: str, value: Any) -> Any:
    if value is None and name in _OPTIONAL:
        return None
    if name in FLAGS:
        return value if isinstance(value, bool) else _refuse(name, value, "True or False")
    if name in _LEAST:
        return _checked_int(name, value)
    if name == "semantics":
        if isinstance(value, str) and value in SEMANTICS:
            return value
        _refuse(name, value, f"one of {', '.join(SEMANTICS)}", nearest(str(value), SEMANTICS))
    return _checked_float(name, value)


def _checked_int(name: str, value: Any) -> int:
    least = _LEAST[name]
    wanted = f"an integer >= {least}" + (" or None" if name in _OPTIONAL else "")
    try:
        number = operator.index(value)
    except TypeError:
        _refuse(name, value, wanted)
    # Python's bool is an int. Below 2**31 the engine's sums stay exact, and no server needs more.
    if isinstance(value, bool) or not least <= number < 2**31:
        _refuse(name, value, wanted if number < least or isinstance(value, bool) else "< 2**31")
    return number


def _checked_float(name: str, value: Any) -> float:
    wanted = "a number of seconds > 0 or None" if name == "horizon_s" else "a number, 0 <= w < 1"
    if isinstance(value, (bool, str)):
        _refuse(name, value, wanted)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        _refuse(name, value, wanted)
    good = 0 < number < math.inf if name == "horizon_s" else 0 <= number < 1
    return number if good else _refuse(name, value, wanted)


def _refuse(name: str, value: Any, wanted: str, hint: str = "") -> NoReturn:
    raise ConfigError(f"{name} must be {wanted}, got {value!r:.60}{hint}")
