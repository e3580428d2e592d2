"""The wheel, built from a copy of the sources and installed where neither the repository nor the link tree is seen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PROJECT["tool"]["setuptools"]["packages"]
FOLDERS = sorted({name.split(".")[1] for name in PACKAGES})
LARGEST_WHEEL = 20 * 2**20

# The modules that need triton, which the development environment has and a user's machine without CUDA lacks.
KERNELS_OF_TRITON = "espalier.kernels.triton."

IMPORT_ALL = """
import importlib, json, sys
sys.path += [{installed!r}, {dependencies!r}]
sys.modules.update(dict.fromkeys({lacking!r}))
print(json.dumps({{name: importlib.import_module(name).__file__ for name in {modules!r}}}))
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def source_files() -> Iterator[str]:
    """Everything in the folders, as paths from the root; notes for readers of the source are not part of a wheel."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            skipped = "__pycache__" in path.parts or path.suffix in {".pyc", ".md"} or path.name.startswith(".")
            if path.is_file() and not skipped:
                yield path.relative_to(ROOT).as_posix()


def module_name(file: str) -> str:
    return "espalier." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build in a copy, because setuptools leaves its `build` folder where it works."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for file in source_files():
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy / file)
    built = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation", "--outdir", built, copy, cwd=built)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-P", "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-index")
    run(*pip, "--no-deps", "--target", target, wheel, cwd=target)
    return target


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment's packages by links, all but the link tree."""
    folder = tmp_path_factory.mktemp("dependencies")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith("espalier"):
            (folder / path.name).symlink_to(path)
    return folder


def test_every_package_of_the_folders_is_listed_in_pyproject() -> None:
    found = {module_name(file) for file in source_files() if file.endswith("/__init__.py")}
    assert set(PACKAGES) == found


def test_the_wheel_is_smaller_than_20_mb(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_the_wheel_holds_every_file_of_the_folders_and_no_other(installed: Path) -> None:
    tree = installed / "espalier"
    found = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert found == set(source_files())


def places(installed: Path, dependencies: Path, modules: list[str], lacking: tuple[str, ...] = ()) -> list[str]:
    """Where each module was imported from by a fresh interpreter that does not find what is lacking."""
    code = IMPORT_ALL.format(installed=str(installed), dependencies=str(dependencies), modules=modules, lacking=lacking)
    found: dict[str, str] = json.loads(run(sys.executable, "-I", "-S", "-c", code, cwd=installed))
    return list(found.values())


def test_every_module_imports_from_the_wheel(installed: Path, dependencies: Path) -> None:
    modules = [module_name(file) for file in source_files() if file.endswith(".py")]
    found = places(installed, dependencies, modules)
    assert [place for place in found if not place.startswith(str(installed))] == []


def test_only_the_triton_kernels_need_triton(installed: Path, dependencies: Path) -> None:
    modules = [module_name(file) for file in source_files() if file.endswith(".py")]
    plain = [name for name in modules if not name.startswith(KERNELS_OF_TRITON)]
    assert len(places(installed, dependencies, plain, lacking=("triton",))) == len(plain)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_wheel_installs_no_folder_bare(installed: Path, folder: str) -> None:
    assert PathFinder.find_spec(folder, [str(installed)]) is None
    assert PathFinder.find_spec("espalier", [str(installed)]) is not None


def test_this_environment_has_the_metadata_that_an_installed_wheel_has() -> None:
    assert version("espalier") == PROJECT["project"]["version"]
    (command,) = entry_points(group="console_scripts", name="espalier")
    assert command.value == PROJECT["project"]["scripts"]["espalier"]
