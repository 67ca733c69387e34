"""The parts that pyproject.toml cannot express: the library, and a wheel for every Python 3."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).resolve().parent))
import build


class BuildPy(build_py):
    """Compiles the library, which is then package data like any other file."""

    def run(self) -> None:
        """Compile into the source tree, then collect the package."""
        try:
            print(build.build())
        except build.BuildError as error:
            sys.exit(f"pysimbind: error: {error}")
        if not self.editable_mode:
            # An earlier build may have left modules that no longer exist.
            shutil.rmtree(Path(self.build_lib) / "pysimbind", ignore_errors=True)
        super().run()


class BdistWheel(bdist_wheel):
    """Tags the wheel for one platform and any Python 3: the library does not use Python's ABI."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag py3-none-<platform>."""
        wheel_platform = super().get_tag()[2]
        # A universal Python builds only for the processor that runs it.
        return "py3", "none", wheel_platform.replace("universal2", platform.machine())


class BinaryDistribution(Distribution):
    """Holds a compiled library that is not an extension module."""

    def has_ext_modules(self) -> bool:
        """Return true: the wheel belongs to one platform."""
        return True


setup(
    cmdclass={"bdist_wheel": BdistWheel, "build_py": BuildPy},
    distclass=BinaryDistribution,
    setup_requires=build.requirements(),
)
