"""Lays the development environment: packages at their locked versions, and the link tree `espalier/<folder>`.

    python .ci/environment.py .venv --extra server [--extra dev]

Standard library only. The folders are linked, not found by an import hook, so that the interpreter, mypy and editors
all see `espalier.engine` as a plain folder. Beside the links lie a launcher `bin/espalier` and the metadata that
`importlib.metadata` reads, so that code can't tell this environment from an installed wheel.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 11), (3, 13)
# Understood by the kernel whatever the length of the interpreter's path, and by Python as a string: what pip writes.
LAUNCHER = """#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys

from espalier.gateway.cli import main

sys.exit(main())
"""


def say(what: str) -> None:
    """Show one step of the set-up."""
    print(f"[setup] {what}", flush=True)


def check_version(version: tuple[int, ...], who: str) -> None:
    """End with what to do unless the version is one that is tested."""
    if not OLDEST <= version[:2] <= NEWEST:
        found = ".".join(str(part) for part in version[:3])
        sys.exit(f"{who} is Python {found}; Espalier needs 3.11 to 3.13. Choose one: make PYTHON=python3.12 ...")


def read_from(python: Path, code: str) -> str:
    """Return what `python -c code` prints."""
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def make_environment(folder: Path) -> Path:
    """Return the environment's interpreter, made if it is missing, with pip in it."""
    python = folder / "bin" / "python"
    if not python.exists():
        check_version(sys.version_info[:3], sys.executable)
        say(f"Python {sys.version.split()[0]} in {folder}")
        made = [sys.executable, "-m", "venv", str(folder)]
        # Without ensurepip (Debian keeps it in python3-venv) the environment can still be made, and pip put into it.
        if subprocess.run(made, capture_output=True, check=False).returncode != 0:
            subprocess.run([*made, "--clear", "--without-pip"], check=True)
    version = read_from(python, "import sys; print(*sys.version_info[:3])")
    check_version(tuple(int(part) for part in version.split()), str(python))
    if subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0:
        lend_pip(python)
    return python


def lend_pip(python: Path) -> None:
    """Put pip into an environment that was made without it, by ensurepip or by the pip of this interpreter."""
    if subprocess.run([str(python), "-m", "ensurepip"], capture_output=True, check=False).returncode == 0:
        return
    lent = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "pip"]
    if subprocess.run(lent, check=False).returncode != 0:
        sys.exit("No pip for the environment: install your system's python3-venv package, then run make again.")


def constraints(folder: Path, python: Path) -> Path:
    """The lock; without triton until torch is there, and with a torch that brought the triton that it needs."""
    built_for_cpu = read_from(
        python,
        "from importlib.metadata import distributions as all_of\n"
        "print(any(d.name == 'torch' and d.version.endswith('+cpu') for d in all_of()))",
    )
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if built_for_cpu != "True":
        lines = [line for line in lines if not line.startswith("triton==")]
    chosen = folder / "constraints.txt"
    chosen.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return chosen


def install(python: Path, requirements: list[str], *options: str) -> None:
    """Install with the lock as constraints."""
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    # torch takes minutes on a slow line: someone who watches gets pip's progress bar.
    if not sys.stdout.isatty():
        pip.append("--quiet")
    chosen = constraints(python.parents[1], python)
    subprocess.run([*pip, "-c", str(chosen), *options, *requirements], check=True)


def lay_links(python: Path, folders: list[str]) -> Path:
    """Make `espalier/<folder>` links with a py.typed beside them; return the folder of packages."""
    packages = Path(read_from(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    tree = packages / "espalier"
    tree.mkdir(exist_ok=True)
    (tree / "py.typed").touch()
    for link in tree.iterdir():
        if link.is_symlink() and link.readlink() != ROOT / link.name:
            link.unlink()
    for folder in folders:
        if not (tree / folder).is_symlink():
            (tree / folder).symlink_to(ROOT / folder, target_is_directory=True)
    return packages


def write_metadata(packages: Path, version: str) -> None:
    """Make `importlib.metadata` and pip know the distribution; RECORD is empty, so that pip never removes a source."""
    for old in packages.glob("espalier-*.dist-info"):
        shutil.rmtree(old)
    metadata = packages / f"espalier-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: espalier\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text("[console_scripts]\nespalier = espalier.gateway.cli:main\n")
    (metadata / "INSTALLER").write_text("make\n")
    (metadata / "RECORD").write_text("")


def write_launcher(python: Path) -> None:
    """Make `bin/espalier`."""
    launcher = python.parent / "espalier"
    launcher.write_text(LAUNCHER.format(python=python))
    launcher.chmod(0o755)


def main() -> None:
    """Make, fill and link the environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the environment lies")
    parser.add_argument("--extra", action="append", default=[], help="an extra of pyproject.toml")
    arguments = parser.parse_args()
    check_version(sys.version_info[:3], sys.executable)
    import tomllib  # new in 3.11: an older interpreter must get as far as the check above

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    python = make_environment(arguments.folder.absolute())
    needs: list[str] = list(project["dependencies"])
    for extra in arguments.extra:
        needs += project["optional-dependencies"][extra]
    # torch alone and first: no other package may choose which build of it comes.
    torch = [need for need in needs if re.match(r"torch\b", need)]
    index = os.environ.get("TORCH_INDEX_URL")
    say("torch" + (f" from {index}" if index else ""))
    install(python, torch, *(["--index-url", index, "--no-deps"] if index else []))
    say(f"{len(needs) - 1} packages and what they need")
    install(python, needs)
    say("links, metadata and bin/espalier")
    top = sorted({name.split(".")[1] for name in folders})
    write_metadata(lay_links(python, top), project["version"])
    write_launcher(python)


if __name__ == "__main__":
    main()
