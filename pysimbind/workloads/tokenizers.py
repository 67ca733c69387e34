"""Tokenizers from files, to count and encode text. They need the extra ``tokenizers``.

The extra installs ``tokenizers``, for a ``tokenizer.json``, and ``tiktoken``, for a file of ranks:
``pip install 'pysimbind[tokenizers]'``.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from .._arguments import integer
from ..errors import MissingExtraError, WorkloadError

Tokenizer = Callable[[str], Sequence[int]]
"""Turns a text into token ids."""

_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PATTERNS: Mapping[str, str] = MappingProxyType(
    {
        "cl100k": _CL100K,
        # like cl100k, but Qwen splits numbers into single digits
        "qwen": _CL100K.replace(r"\p{N}{1,3}", r"\p{N}"),
    }
)
"""How text is split before byte pairs are merged, by name. Files of tiktoken ranks do not say.

``cl100k``: OpenAI's GPT-3.5 and 4 (``tiktoken_ext/openai_public.py``). ``qwen``: Qwen up to Qwen3
(``PAT_STR`` of its tokenizer). Qwen3.5 has another pattern, with combining marks among the letters.
For Qwen3.5, give the regular expression itself.
"""


def load_tokenizer(path: str | os.PathLike[str], pattern: str = "cl100k") -> Tokenizer:
    """Return the tokenizer of a file: a function from text to token ids.

    A ``.json`` file, or a folder with a ``tokenizer.json``, is read as Hugging Face's. Its
    post-processor adds special tokens, as ``tokenizer(text).input_ids`` does. A ``.tiktoken`` file
    of ranks has base64 bytes and a rank on each line, as for Qwen. It adds no special tokens, and
    ``pattern`` splits the text: a name in ``PATTERNS`` or a regular expression. Raises
    ``WorkloadError`` for any other file, and ``MissingExtraError`` without the library.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "tokenizer.json"
    if path.suffix == ".json":
        return _hugging_face(path)
    if path.suffix == ".tiktoken":
        return _tiktoken(path, PATTERNS.get(pattern, pattern))
    raise WorkloadError(
        f"{path}: which tokenizer? its name must end in .json (Hugging Face) or .tiktoken"
    )


def _hugging_face(path: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer as HuggingFace
    except ImportError as exc:
        raise _missing(path, "tokenizers") from exc
    data = _read(path)
    try:
        tokenizer = HuggingFace.from_buffer(data)
    except Exception as exc:  # the library raises this class only
        raise WorkloadError(f"{path}: not a tokenizer of Hugging Face: {exc}") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: tokenizer.encode(text).ids


def _tiktoken(path: Path, pattern: str) -> Tokenizer:
    try:
        import tiktoken
    except ImportError as exc:
        raise _missing(path, "tiktoken") from exc
    ranks = _ranks(path)
    try:
        encoding = tiktoken.Encoding(
            path.stem, pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
        )
    except ValueError as exc:
        raise WorkloadError(f"pattern {pattern!r}: {exc}") from exc
    return encoding.encode_ordinary


def _ranks(path: Path) -> dict[bytes, int]:
    """Read the ranks without tiktoken's own reader, which caches files by name for ever.

    Tiktoken's encoder panics if ranks repeat or a byte has no rank, so these are refused.
    """
    ranks: dict[bytes, int] = {}
    taken = set()
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            token, digits = line.split()
            rank = integer("rank", int(digits), 0, 2**31)
            ranks[base64.b64decode(token, validate=True)] = rank
        except ValueError as exc:
            raise WorkloadError(
                f"{path}: line {number}: must be a token in base64 and its rank"
            ) from exc
        if rank in taken:
            raise WorkloadError(f"{path}: line {number}: rank {rank} is given twice")
        taken.add(rank)
    for byte in range(256):
        if bytes([byte]) not in ranks:
            raise WorkloadError(
                f"{path}: no file of ranks: it has no token for the byte {byte:#04x}"
            )
    return ranks


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise WorkloadError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def _missing(path: Path, library: str) -> MissingExtraError:
    return MissingExtraError(f"{path} needs {library}: pip install 'pysimbind[tokenizers]'")
