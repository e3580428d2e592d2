"""The engine: weights, batches, KV memory and the step loop. Knows nothing of HTTP, keys or SQL.

Names are loaded when first used, so that a process which only needs messages or options does not load torch.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espalier.engine.engine import Engine
    from espalier.engine.llm import LLM
    from espalier.engine.messages import Generate, Output, SamplingParams
    from espalier.engine.options import EngineOptions

__all__ = ["LLM", "Engine", "EngineOptions", "Generate", "Output", "SamplingParams"]

_HOMES = {
    "LLM": "llm",
    "Engine": "engine",
    "EngineOptions": "options",
    "Generate": "messages",
    "Output": "messages",
    "SamplingParams": "messages",
}

# Read when torch is first imported: its threads else keep a core for milliseconds after each operation, which those of
# the native library then miss.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
