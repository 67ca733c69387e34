"""Types as users see them, by mypy --strict and pyright from outside of the package.

``pysimbind.fit`` is a package that can be called: it must have the signature of ``fit``.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import pysimbind
from pysimbind.fit import _typed, fit
from pysimbind.fit._options import FitOptions

USER = """
import pysimbind
import pysimbind.fit as package
from pysimbind import FitResult, fit as function
from pysimbind.fit import METHODS, FitProgress, fit

run = pysimbind.load_experiment("exp1_30rr")
result: FitResult = pysimbind.fit(run, "lsq", model="small", max_evals=30)
result = function([run], holdout="alternate", fixed={"out": 0.0})
result = fit("exp1_30rr", seed=1)
result = package.fit(run)
result = pysimbind.fit.fit(run)
names: list[str] = [*pysimbind.fit.METHODS, *METHODS, *function.METHODS]


def watch(progress: FitProgress) -> None:
    print(progress.nfev)


x = pysimbind.fit(run, callback=watch).x.sum() + result.fun
method: str = result.method
"""

WRONG = """
import pysimbind
from pysimbind import fit as function
from pysimbind.fit import fit

pysimbind.fit("exp1_30rr", max_evals="many")
function("exp1_30rr", max_eval=3)
fit("exp1_30rr", seed=1.5)
pysimbind.fit()
number: int = pysimbind.fit("exp1_30rr")
pysimbind.fit.nothing
"""


def mypy(path: Path) -> list[int]:
    """The lines of a file with an error, by mypy."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", path.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return sorted(
        {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error" in line}
    )


def pyright(path: Path) -> list[int]:
    """The lines of a file with an error, by pyright in its strict mode."""
    (path.parent / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    command = [sys.executable, "-m", "basedpyright", "--outputjson", path.name]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return sorted({e["range"]["start"]["line"] + 1 for e in found if e["severity"] == "error"})


@pytest.fixture
def elsewhere(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user's, for whom this checkout is an installed package."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "pysimbind").symlink_to(root / "pysimbind")
    monkeypatch.setenv("MYPYPATH", str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("check", [mypy, pyright])
def test_right_calls_pass(elsewhere: Path, check: object) -> None:
    assert callable(check)
    (elsewhere / "user.py").write_text(USER)
    assert check(elsewhere / "user.py") == []


@pytest.mark.slow
@pytest.mark.parametrize("check", [mypy, pyright])
def test_wrong_calls_do_not(elsewhere: Path, check: object) -> None:
    assert callable(check)
    (elsewhere / "user.py").write_text(WRONG)
    assert check(elsewhere / "user.py") == [6, 7, 8, 9, 10, 11]


def test_the_signature_is_that_of_the_function() -> None:
    signature = inspect.signature(fit)
    assert inspect.signature(pysimbind.fit) == signature
    assert list(signature.parameters)[:2] == ["experiments", "method"]
    assert signature.parameters["max_evals"].default is None


def test_every_argument_is_an_option() -> None:
    """``fit`` hands all but the experiments on as ``FitOptions``, which checks them."""
    options = [field.name for field in dataclasses.fields(FitOptions)]
    assert ["experiments", *options] == list(inspect.signature(fit).parameters)


def test_help_tells_of_the_function() -> None:
    described = pydoc.render_doc(pysimbind.fit, renderer=pydoc.plaintext).partition("CLASSES")[0]
    for name in inspect.signature(fit).parameters:
        assert f"``{name}``" in described


def test_type_checkers_see_all_names_of_the_package() -> None:
    package = sys.modules["pysimbind.fit"]
    assert {*package.__all__} <= {*dir(_typed.fit), *type(_typed.fit).__annotations__}
    assert _typed.fit.fit is fit
