"""SGLang's RadixCache: peer_sglang.py TRACE. The tree's modules are SGLang's own; what else they import is a stand-in
that is never called, since a tree without memory pools (`create_simulated`) needs none of it."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from array import array
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

sys.path.append(str(Path(__file__).resolve().parents[3] / "gateway" / "bench"))

import torch
from tree_run import Ids, main

REAL = {
    f"sglang.srt.mem_cache.{name}" for name in ("radix_cache", "base_prefix_cache", "cache_init_params", "evict_policy")
}
REAL |= {"sglang.srt.mem_cache.events", "sglang.srt.mem_cache.utils"}


class StandIn(ModuleType):
    """A module in which every name is a class without content."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Finder:
    """Finds stand-ins for everything of SGLang that is not real."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """A stand-in, or the file itself."""
        if name.split(".")[0] != "sglang":
            return None
        if name in REAL:
            return importlib.util.spec_from_file_location(
                name, FOLDER.joinpath(*name.split(".")[1:]).with_suffix(".py")
            )
        return importlib.machinery.ModuleSpec(name, Finder, is_package=True)

    @staticmethod
    def create_module(spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The stand-in."""
        return StandIn(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """It has no code."""


SPEC = importlib.util.find_spec("sglang")
assert SPEC is not None and SPEC.origin is not None, "sglang is not installed here: run setup.sh"
FOLDER = Path(SPEC.origin).parent
sys.meta_path.insert(0, Finder)

from sglang.srt.mem_cache.base_prefix_cache import EvictParams, InsertParams, MatchPrefixParams  # noqa: E402
from sglang.srt.mem_cache.radix_cache import RadixCache, RadixKey  # noqa: E402


class Allocator:
    """Takes freed slots."""

    device = "cpu"

    def free_segment(self, slots: torch.Tensor, start_pos: int) -> None:
        """Nothing is allocated here."""


class SGLang:
    """See `Tree`."""

    def __init__(self) -> None:
        self._cache = RadixCache.create_simulated(mock_allocator=Allocator())

    def tokens(self, ids: Ids) -> Any:
        """See `Tree`."""
        tokens = array("q")
        tokens.frombytes(ids.astype("int64").tobytes())
        return tokens

    def slots(self, slots: Ids) -> torch.Tensor:
        """See `Tree`."""
        return torch.from_numpy(slots.astype("int64"))

    def match(self, tokens: Any, length: int) -> tuple[Any, int]:
        """See `Tree`; the slots found are not even gathered."""
        found = self._cache.match_prefix(MatchPrefixParams(key=RadixKey(tokens)))
        return found.last_device_node, found.device_prefix_len

    def lock(self, node: Any) -> Any:
        """See `Tree`."""
        self._cache.inc_lock_ref(node)
        return node

    def unlock(self, lock: Any) -> None:
        """See `Tree`."""
        self._cache.dec_lock_ref(lock)

    def insert(self, node: Any, matched: int, tokens: Any, slots: torch.Tensor, length: int) -> Any:
        """See `Tree`; it walks from the root."""
        return self._cache.insert(InsertParams(key=RadixKey(tokens), value=slots)).last_device_node

    def evict(self, count: int) -> int:
        """See `Tree`; whole leaves."""
        return int(self._cache.evict(EvictParams(num_tokens=count)).num_tokens_evicted)


if __name__ == "__main__":
    main(SGLang)
