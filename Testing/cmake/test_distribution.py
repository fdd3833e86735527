"""The distribution: what a wheel contains, and that Slicer's Python is asked for the same packages."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_contains_the_core_and_its_resources(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("x2br-*.whl"))) as wheel:
        files = set(wheel.namelist())
        entry_points = wheel.read(next(name for name in files if name.endswith("entry_points.txt"))).decode()
    assert "x2br = X2BRLogic.cli:main" in entry_points
    expected = [path.relative_to(ROOT) for path in (ROOT / "X2BRLogic").rglob("*.py")]
    expected += ["X2BRLogic" / path.relative_to(ROOT) for path in (ROOT / "Resources").rglob("*") if path.is_file()]
    assert {str(path) for path in expected} <= files
    assert not [name for name in files if name.startswith(("Testing", "X2BRSlicer"))]


def imported_packages(file: Path) -> set[str]:
    """Top-level names of everything that a file imports from other packages, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"X2BRLogic"}


def test_every_package_that_the_core_imports_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = project["dependencies"] + [
        line for name in ("training", "detection-train", "physics", "bench", "data") for line in extras[name]
    ]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    declared |= {"triton"}  # torch brings it where it can use CUDA, and there alone it is imported
    distributions = packages_distributions()
    for file in (ROOT / "X2BRLogic").rglob("*.py"):
        for name in imported_packages(file):
            candidates = {canonicalize_name(found) for found in distributions.get(name, [name])}
            assert candidates & declared, f"{file.relative_to(ROOT)} imports {name}, which pyproject.toml does not list"


def test_slicer_is_asked_for_the_same_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "X2BRSlicer" / "Resources" / "requirements.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert sorted(map(str, requirements)) == sorted(str(Requirement(line)) for line in project["dependencies"])
