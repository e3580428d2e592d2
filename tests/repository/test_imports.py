"""The import table of ARCHITECTURE.md, read off every module's syntax tree and off a fresh interpreter."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

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
    "sessions": {"torch", "starlette", "uvicorn", "httpx", "transformers"},
    "gateway": {"torch", "sqlite3", "transformers"},
}
# Where a folder's rule is lifted for the one module that exists for it.
LIFTED = {("sessions/store.py", "sqlite3")}
# What the gateway process loads; the engine runs in its own, and torch is a second of start-up and 200 MB of memory.
WITHOUT_TORCH = (
    "gateway.cli",
    "gateway.app",
    "gateway.serve",
    "engine.messages",
    "engine.tokenizer",
    "engine.chat_template",
)


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


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_the_gateway_process_never_loads_torch(module: str) -> None:
    name = f"espalier.{module}"
    if not (ROOT / f"{module.replace('.', '/')}.py").is_file() or find_spec(name) is None:
        pytest.skip(f"{name} is not built yet")
    code = f"import sys, {name}; print([one for one in ('torch', 'transformers') if one in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
