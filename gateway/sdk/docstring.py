"""Reads a function's docstring: what it does, and what it says of each parameter.

Google (`Args:`), NumPy (`Parameters` over dashes) and Sphinx (`:param name:`) are read alike; sections that tell a
caller in Python something (`Returns`, `Raises`, `Examples`) are not for the model.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from itertools import pairwise

_PARAMETERS = {"args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "attributes"}
_OTHERS = {"returns", "return", "raises", "yields", "example", "examples", "note", "notes", "see also", "warns"}
_SPHINX = re.compile(r"^:(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?\*{0,2}(\w+):\s*(.*)$")
_SPHINX_OTHER = re.compile(r"^:\w+[^:]*:")
_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Docstring:
    """A description for the model, and one for each parameter that has one."""

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def read(text: str | None) -> Docstring:
    """The parts of a docstring; white space within a paragraph is one blank."""
    described: list[str] = []
    found: dict[str, list[str]] = {}
    section, name, depth = "", "", 0
    for line, below in pairwise([*inspect.cleandoc(text or "").splitlines(), ""]):
        bare, indent = line.strip(), len(line) - len(line.lstrip())
        if not indent and (title := _title(bare, below)):
            section, name, depth = title, "", -1
        elif not indent and (sphinx := _SPHINX.match(bare)):
            section, name, depth = "args", sphinx[1], 0
            found[name] = [sphinx[2]]
        elif not indent and _SPHINX_OTHER.match(bare):
            section, name = "returns", ""
        elif set(bare) == {"-"} and section:
            depth = 0  # NumPy: names stand at the margin, what is said of them is indented
        elif section in _PARAMETERS and bare:
            depth = indent if depth < 0 else depth
            if indent == depth and (entry := _ENTRY.match(bare) or re.match(r"^\*{0,2}(\w+)()$", bare)):
                name = entry[1]
                # In NumPy's form what stands behind the colon is a type.
                found[name] = [] if depth == 0 and not line.startswith(":") else [entry[2]]
            elif name:
                found[name].append(bare)
        elif not section:
            described.append(bare)
    parameters = {key: " ".join(part for part in parts if part) for key, parts in found.items()}
    return Docstring(_paragraphs(described), {key: value for key, value in parameters.items() if value})


def _title(bare: str, below: str) -> str:
    word = bare.removesuffix(":").lower()
    known = word in _PARAMETERS or word in _OTHERS
    is_title = bare.endswith(":") or (below.strip() != "" and set(below.strip()) == {"-"})
    return word if known and is_title else ""


def _paragraphs(lines: list[str]) -> str:
    blocks = re.split(r"\n{2,}", "\n".join(lines).strip())
    return "\n\n".join(" ".join(block.split()) for block in blocks)
