"""Compiled grammars by constraint, vocabulary, end tokens and limits, bounded in bytes, with a share for each tenant.

Over the bound, the tenant that holds the most gives up what it has not used for longest. So nobody loses anything while
it holds no more than the bound divided by the number of tenants, whatever others do. What was refused is remembered
too, in a bound of its own. No clock, no threads: the same calls keep the same grammars.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from espalier.grammar.constraint import AnyConstraint
from espalier.grammar.errors import GrammarError
from espalier.grammar.grammar import Grammar, compile_grammar
from espalier.grammar.limits import Limits
from espalier.grammar.vocabulary import Vocabulary

Value = TypeVar("Value")
_ENTRY = 600  # bytes: what it takes to keep one, its key's text and its value left out
_DEFAULT = Limits()


@dataclass(slots=True)
class _Entry(Generic[Value]):
    tenant: str
    value: Value
    num_beside: int
    num_bytes: int = 0
    num_uses: int = 0


class Shares(Generic[Value]):
    """Values of tenants by key, bounded in bytes over all tenants; `size` says how many a value takes now."""

    def __init__(self, budget_bytes: int, size: Callable[[Value], int]) -> None:
        self.budget_bytes, self.num_bytes, self._size = budget_bytes, 0, size
        self._entries: dict[str, OrderedDict[Hashable, _Entry[Value]]] = {}
        self._of: dict[int, _Entry[Value]] = {}  # by the id of a value, which its entry keeps alive
        self._sizes: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def held_by(self, tenant: str) -> int:
        """Bytes that a tenant holds."""
        return self._sizes.get(tenant, 0)

    def get(self, tenant: str, key: Hashable) -> _Entry[Value] | None:
        """An entry, which is now the last one that its tenant used; None if it is not kept."""
        entries = self._entries.get(tenant)
        found = None if entries is None else entries.get(key)
        if entries is not None and found is not None:
            entries.move_to_end(key)
            found.num_uses += 1
        return found

    def put(self, tenant: str, key: Hashable, value: Value, num_beside: int = 0) -> None:
        """Keep a value under a new key, which takes so many more bytes; what alone is over the bound is not kept."""
        if num_beside + self._size(value) <= self.budget_bytes:
            entry = _Entry(tenant, value, num_beside)
            self._entries.setdefault(tenant, OrderedDict())[key] = self._of[id(value)] = entry
            self.measure(value)

    def measure(self, value: Value) -> None:
        """Count what a value takes now, if it is kept: they grow with use."""
        entry = self._of.get(id(value))
        if entry is not None:
            before, entry.num_bytes = entry.num_bytes, entry.num_beside + self._size(value)
            self._grow(entry.tenant, entry.num_bytes - before)

    def _grow(self, tenant: str, num_bytes: int) -> None:
        self._sizes[tenant] = self._sizes.get(tenant, 0) + num_bytes
        self.num_bytes += num_bytes
        while self.num_bytes > self.budget_bytes:
            self._evict(max(self._sizes, key=lambda name: (self._sizes[name], name)))

    def _evict(self, tenant: str) -> None:
        _, gone = self._entries[tenant].popitem(last=False)
        self._sizes[tenant] -= gone.num_bytes
        self.num_bytes -= gone.num_bytes
        del self._of[id(gone.value)]
        if not self._entries[tenant]:
            del self._entries[tenant], self._sizes[tenant]


class GrammarCache:
    """Compiles what it does not have."""

    def __init__(self, budget_bytes: int = 256 << 20, refused_bytes: int = 4 << 20) -> None:
        self.grammars = Shares[Grammar](budget_bytes, lambda grammar: grammar.num_bytes)
        self.refused = Shares[GrammarError](refused_bytes, lambda error: 2 * len(str(error)))

    def knows(
        self,
        tenant: str,
        constraint: AnyConstraint,
        vocabulary: Vocabulary,
        end_tokens: Sequence[int] = (),
        limits: Limits = _DEFAULT,
    ) -> bool:
        """Whether `get` would not compile."""
        key = _key(constraint, vocabulary, end_tokens, limits)
        return self.grammars.get(tenant, key) is not None or self.refused.get(tenant, key) is not None

    def get(
        self,
        tenant: str,
        constraint: AnyConstraint,
        vocabulary: Vocabulary,
        end_tokens: Sequence[int] = (),
        limits: Limits = _DEFAULT,
        pause: Callable[[], None] | None = None,
    ) -> Grammar:
        """The grammar of a constraint. Raises what `compile_grammar` raises, at once if it did before."""
        key = _key(constraint, vocabulary, end_tokens, limits)
        text = key[0]
        found = self.grammars.get(tenant, key)
        if found is not None:
            if found.num_uses & (found.num_uses - 1) == 0:  # grammars grow with use: measured at uses 1, 2, 4, 8 ...
                self.grammars.measure(found.value)
            return found.value
        refused = self.refused.get(tenant, key)
        if refused is not None:
            raise _again(refused.value)
        try:
            grammar = compile_grammar(constraint, vocabulary, end_tokens, limits, pause)
        except GrammarError as error:
            if self.refused.get(tenant, key) is None:  # in a pause another one may have come and asked for the same
                self.refused.put(tenant, key, _again(error), len(text) + _ENTRY)
            raise
        made = self.grammars.get(tenant, key)
        if made is not None:
            return made.value
        self.grammars.put(tenant, key, grammar, len(text) + _ENTRY)
        return grammar


def _key(
    constraint: AnyConstraint, vocabulary: Vocabulary, end_tokens: Sequence[int], limits: Limits
) -> tuple[bytes, Vocabulary, tuple[int, ...], Limits]:
    return (msgspec.msgpack.encode(constraint), vocabulary, tuple(end_tokens), limits)


def _again(error: GrammarError) -> GrammarError:
    """An equal error without the traceback, which would keep alive what the caller held."""
    fresh = type(error).__new__(type(error), *error.args)
    fresh.__dict__.update(error.__dict__)
    return fresh
