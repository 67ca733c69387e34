"""The files around the code agree with each other: releases, lints, hosted CI and notices.

The oracle is the other file: the README's commands, pyproject.toml, the lints of .ci/lint.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is in the extra 'test'")


def text(root: Path, name: str) -> str:
    return (root / name).read_text("utf-8")


def parsed(root: Path, name: str) -> Any:
    return yaml.safe_load(text(root, name))


def version(root: Path) -> str:
    found = re.search(r'^version = "(.*)"$', text(root, "pyproject.toml"), re.MULTILINE)
    assert found is not None
    return found[1]


def test_the_newest_release_is_the_version_that_is_cited(root: Path) -> None:
    citation = parsed(root, "CITATION.cff")
    releases = re.findall(r"^## \[(\d.*)\] - (.*)$", text(root, "CHANGELOG.md"), re.MULTILINE)
    assert releases[0] == (version(root), str(citation["date-released"]))
    assert citation["version"] == version(root)


def test_the_licence_is_the_same_everywhere(root: Path) -> None:
    licence = parsed(root, "CITATION.cff")["license"]
    assert f'license = "{licence}"' in text(root, "pyproject.toml")
    assert licence == "Apache-2.0"
    assert text(root, "LICENSE").split()[:4] == ["Apache", "License", "Version", "2.0,"]


def test_hooks_are_the_lints_of_ci(root: Path) -> None:
    lints = re.findall(r"^lint_(\w+)\(\)", text(root, ".ci/lint"), re.MULTILINE)
    (local,) = parsed(root, ".pre-commit-config.yaml")["repos"]
    assert [hook["id"] for hook in local["hooks"]] == lints
    assert [hook["entry"] for hook in local["hooks"]] == [f".ci/lint {lint}" for lint in lints]
    assert f"set -- {' '.join(lints)}\n" in text(root, ".ci/lint"), "all of them without a name"
    assert "\n.ci/lint\n" in text(root, ".ci/run")


def test_hosted_ci_runs_the_readme_on_every_python(root: Path) -> None:
    job = parsed(root, ".github/workflows/ci.yml")["jobs"]["test"]
    section = text(root, "README.md").split("\n## Install and test\n")[1]
    commands = re.findall(r"^```sh\n(.*?)\n```$", section, re.MULTILINE)[:2]
    assert [step["run"] for step in job["steps"] if "run" in step] == commands
    pythons = re.findall(r"Python :: (3\.\d+)", text(root, "pyproject.toml"))
    assert job["strategy"]["matrix"]["python"] == pythons


def test_wheels_are_tested_with_every_python(root: Path) -> None:
    project = text(root, "pyproject.toml")
    pythons = re.findall(r"Python :: 3\.(\d+)", project)
    assert re.findall(r'"cp3(\d+)-\*"', project) == pythons


def test_the_notice_names_all_bundled_data(root: Path) -> None:
    names = {path.name for path in (root / "pysimbind" / "data").glob("*.json")}
    assert names == set(re.findall(r"^pysimbind/data/(.*\.json)$", text(root, "NOTICE"), re.M))
