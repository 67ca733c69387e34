"""Scripts with which shells complete commands, options and values, by the library shtab."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import InputError, MissingExtraError, nearest
from ._parser import Parser

SHELLS = ("bash", "zsh", "tcsh", "fish")


def completion_script(
    parser: Parser, parsers: Mapping[str, Parser], program: str, shell: str
) -> str:
    """Return the script of a shell for the parser of ``program`` and those of its commands."""
    if shell not in SHELLS:
        raise InputError(
            f"--print-completion: unknown shell {shell!r}{nearest(shell, SHELLS)} "
            f"(shells: {', '.join(SHELLS)})"
        )
    try:
        import shtab
    except ImportError as exc:
        raise MissingExtraError(
            "--print-completion needs shtab: pip install 'pysimbind[completion]'"
        ) from exc
    both = _Both(program)
    for each in (parser, *parsers.values()):
        for action, complete in each.completions:
            if complete.folders:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab reads it
            elif not complete.files:
                action.choices = list(complete.words)
            elif complete.words:
                action.complete = both.of(complete.words)  # type: ignore[attr-defined]
            else:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell, preamble=both.functions(shell))
    return script.rstrip("\n")


class _Both:
    """Shell functions that offer words and files, which shtab has no function for."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._words: list[str] = []  # of each function

    def of(self, words: Collection[str]) -> dict[str, str]:
        """Return what completes these words, and files, in each shell."""
        text = " ".join(words)
        if text not in self._words:
            self._words.append(text)
        name = self._name(self._words.index(text))
        lines = " ".join(f"{word}\\n" for word in words)
        return {
            "bash": name,
            "zsh": name,
            "tcsh": "f",  # it knows words or files
            "fish": f"(printf '{lines.replace(' ', '')}'; __fish_complete_path (commandline -ct))",
        }

    def functions(self, shell: str) -> str:
        """Return the source of the functions in a shell; empty where it needs none."""
        bodies = {
            "bash": 'compgen -W "{words}" -- "$1"; compgen -f -- "$1"',
            "zsh": "compadd -- {words}; _files",
        }
        return "\n".join(
            f"{self._name(number)}() {{ {bodies[shell].format(words=words)}; }}"
            for number, words in enumerate(self._words if shell in bodies else ())
        )

    def _name(self, number: int) -> str:
        return f"_{self._program}_words_or_files_{number}"
