"""The extension is configured and installed as in Slicer's build, against a stub, and the installed tree imported."""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = Path(__file__).with_name("stub")
MODULES = Path("lib/Slicer-5.10/qt-scripted-modules")


def run_cmake(*arguments) -> subprocess.CompletedProcess:
    cmake = shutil.which("cmake", path=str(Path(sys.executable).parent)) or shutil.which("cmake")
    assert cmake, "cmake is missing; it comes with the extra 'test': pip install 'x2br[test]'"
    return subprocess.run([cmake, *map(str, arguments)], capture_output=True, text=True)


def configure(source: Path, build: Path) -> subprocess.CompletedProcess:
    # Nothing is compiled, so a machine without a compiler will do.
    no_compiler = [f"-DCMAKE_{language}_{setting}" for language in ("C", "CXX") for setting in
                   ("COMPILER=/bin/true", "COMPILER_FORCED=ON")]  # fmt: skip
    return run_cmake("-S", source, "-B", build, f"-DSlicer_DIR={STUB}", *no_compiler)


@pytest.fixture(scope="module")
def a_build_tree(tmp_path_factory) -> Path:
    build = tmp_path_factory.mktemp("build")
    configured = configure(ROOT, build)
    assert configured.returncode == 0, configured.stderr
    return build


@pytest.fixture(scope="module")
def an_installed_tree(a_build_tree, tmp_path_factory) -> Path:
    prefix = tmp_path_factory.mktemp("install")
    installed = run_cmake("--install", a_build_tree, "--prefix", prefix)
    assert installed.returncode == 0, installed.stderr
    return prefix / MODULES


@pytest.fixture
def a_copy_of_the_sources(tmp_path) -> Path:
    copy = tmp_path / "X2BR"
    ignore = shutil.ignore_patterns("__pycache__")
    for folder in ("X2BRSlicer", "X2BRLogic", "Resources"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    shutil.copy(ROOT / "CMakeLists.txt", copy)
    return copy


def test_metadata_is_what_the_extensions_index_asks_for(a_build_tree):
    lines = (a_build_tree / "extension.txt").read_text().splitlines()
    metadata = dict(line.split("=", 1) for line in lines)
    assert metadata["name"] == "X2BR"
    assert metadata["depends"] == "PyTorch"
    # The addresses are those of files in this repository.
    for key in ("icon", "screenshots"):
        address = metadata[key]
        assert address.startswith(metadata["homepage"].replace("github.com", "raw.githubusercontent.com") + "/main/")
    assert (ROOT / metadata["icon"].partition("/main/")[2]).is_file()


def test_first_project_command_names_the_extension():
    commands = re.findall(r"^\s*project\((\w+)", (ROOT / "CMakeLists.txt").read_text(), re.MULTILINE)
    assert commands == ["X2BR"]


def test_core_resources_and_module_lie_beside_each_other(an_installed_tree):
    installed = {str(path.relative_to(an_installed_tree)) for path in an_installed_tree.rglob("*") if path.is_file()}
    core = {str(path.relative_to(ROOT)) for path in (ROOT / "X2BRLogic").rglob("*.py")}
    assert core <= installed
    assert {"X2BRSlicer.py", "X2BRSlicerLib/nodes/bones.py", "X2BRSlicerLib/tabs/drr.py"} <= installed
    assert {"Resources/UI/X2BRSlicer.ui", "Resources/UI/DrrTab.ui"} <= installed
    data = {str(path.relative_to(ROOT)) for path in (ROOT / "Resources").rglob("*") if path.is_file()}
    assert {name for name in data if not name.startswith("Resources/Screenshots/")} <= installed
    assert not [name for name in installed if "__pycache__" in name]


def test_installed_tree_imports_from_where_it_was_installed(an_installed_tree):
    script = textwrap.dedent("""
        import sys
        root, installed = sys.argv[1:]
        sys.path.insert(0, root)
        from Testing.Host import install
        sys.path[:] = [installed] + [path for path in sys.path if path not in (root, "")]
        import Testing.Host.application as application
        application.MODULE_FOLDER = installed
        install()

        import X2BRSlicer
        import time
        from Testing.Host import openPanel
        start = time.process_time()
        panel = openPanel()
        seconds = time.process_time() - start
        assert seconds < 1.0, f"opening the module took {seconds:.2f} s"
        heavy = {"torch", "timm", "numba", "trimesh", "scipy", "skimage", "SimpleITK", "pydicom", "psutil", "dask"}
        assert not heavy & set(sys.modules), f"imported before it is needed: {heavy & set(sys.modules)}"
        panel.self().cleanup()

        import X2BRLogic.geometry
        for module in (X2BRSlicer, X2BRSlicer.core, X2BRSlicer.radiographs, X2BRLogic.geometry):
            assert module.__file__.startswith(installed), module.__file__
    """)
    command = [sys.executable, "-c", script, str(ROOT), str(an_installed_tree)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=an_installed_tree)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("file", ["X2BRSlicer/X2BRSlicerLib/new.py", "X2BRSlicer/Resources/Icons/new.png"])
def test_a_forgotten_file_is_noticed(a_copy_of_the_sources, tmp_path, file):
    (a_copy_of_the_sources / file).write_bytes(b"")
    configured = configure(a_copy_of_the_sources, tmp_path / "build")
    assert configured.returncode != 0
    assert file in re.sub(r"\s+", "", configured.stderr)


def test_a_listed_file_that_is_gone_is_noticed(a_copy_of_the_sources, tmp_path):
    (a_copy_of_the_sources / "X2BRSlicer/X2BRSlicerLib/nodes/bones.py").unlink()
    configured = configure(a_copy_of_the_sources, tmp_path / "build")
    assert configured.returncode != 0 and "bones.py" in configured.stderr


def test_missing_metadata_is_noticed(a_copy_of_the_sources, tmp_path):
    lists = a_copy_of_the_sources / "CMakeLists.txt"
    lists.write_text(re.sub(r"set\(EXTENSION_ICONURL.*\n", "", lists.read_text()))
    configured = configure(a_copy_of_the_sources, tmp_path / "build")
    assert configured.returncode != 0 and "EXTENSION_ICONURL" in configured.stderr
