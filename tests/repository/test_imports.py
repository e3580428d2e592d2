"""The import table of ARCHITECTURE.md, read off every module's syntax tree and off a fresh interpreter."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT = {
    "kernels": set[str](),
    "radix": set[str](),
    "grammar": set[str](),
    "engine": {"radix", "grammar", "kernels"},
    "sessions": set[str](),
    "gateway": {"radix", "grammar", "engine", "sessions"},
}
FORBIDDEN = {
    "kernels": {"starlette", "uvicorn", "httpx", "sqlite3", "transformers"},
    "radix": {"torch", "starlette", "uvicorn", "httpx", "sqlite3", "time", "transformers"},
    "grammar": {"torch", "starlette", "uvicorn", "httpx", "sqlite3", "transformers"},
    "engine": {"starlette", "uvicorn", "httpx", "sqlite3", "transformers"},
    "sessions": {"torch", "starlette", "uvicorn", "httpx", "sqlite3", "transformers"},
    "gateway": {"torch", "sqlite3", "transformers"},
}
# Where a folder's rule is lifted, for the modules that exist for it.
LIFTED = {(f"sessions/store/{name}.py", "sqlite3") for name in ("migration", "reader", "store", "writer")}
# Run an engine in their own process, on purpose: `espalier bench engine` and `structured`. Nothing else imports them.
IN_PROCESS = {"espalier.gateway.bench.engine", "espalier.gateway.bench.structured"}
# Loads the modules one after another until one brings torch: a second of start-up and 200 MB of memory.
LOAD = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "torch" in sys.modules or "transformers" in sys.modules:
        sys.exit(f"{name} loads torch or transformers")
"""


class Import(NamedTuple):
    """One imported module, by its full name."""

    file: str
    line: int
    name: str

    @property
    def folder(self) -> str:
        return self.file.split("/", 1)[0]

    @property
    def parts(self) -> list[str]:
        return self.name.split(".")


def imports_of(path: Path) -> Iterator[Import]:
    """Every import in a file, those inside functions and TYPE_CHECKING too."""
    file = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            # `from espalier import radix` imports a folder by its alias.
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "espalier" else [base]
            yield from (Import(file, node.lineno, name) for name in names)


def shown(imports: list[Import]) -> str:
    return "\n".join(f"{one.file}:{one.line} imports {one.name}" for one in imports)


ALL = [one for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py")) for one in imports_of(path)]


def test_the_folders_are_those_that_are_packaged() -> None:
    assert {one.folder for one in ALL} <= set(MAY_IMPORT)
    assert all((ROOT / folder / "__init__.py").is_file() for folder in MAY_IMPORT)


def test_the_table_in_architecture_md_is_the_one_enforced_here() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", text, flags=re.MULTILINE)
    assert {folder: set(re.findall(r"`(\w+)`", allowed)) for folder, allowed, _ in rows} == MAY_IMPORT
    assert all(set(re.findall(r"`(\w+)`", never)) <= FORBIDDEN[folder] for folder, _, never in rows)


def test_each_folder_imports_only_what_the_table_allows() -> None:
    ours = [one for one in ALL if one.parts[0] == "espalier"]
    wrong = [one for one in ours if one.parts[1] != one.folder and one.parts[1] not in MAY_IMPORT[one.folder]]
    assert not wrong, shown(wrong)


def test_no_folder_imports_what_it_must_not_know() -> None:
    wrong = [one for one in ALL if one.parts[0] in FORBIDDEN[one.folder] and (one.file, one.parts[0]) not in LIFTED]
    assert not wrong, shown(wrong)


def test_imports_are_absolute_and_start_at_espalier() -> None:
    wrong = [one for one in ALL if one.name.startswith(".") or one.parts[0] in MAY_IMPORT]
    assert not wrong, shown(wrong)


def test_no_module_of_the_gateway_process_loads_torch() -> None:
    files = [path.relative_to(ROOT) for path in sorted((ROOT / "gateway").rglob("*.py"))]
    names = ["espalier." + ".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    command = [sys.executable, "-P", "-c", LOAD, *(name for name in names if name not in IN_PROCESS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert (done.returncode, done.stderr) == (0, "")
