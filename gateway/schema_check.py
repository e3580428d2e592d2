"""Whether schemas and patterns can be kept, asked before anything is generated: what is wrong, where, or what holds.

Two implementations of `SchemaChecker`: `ThreadChecker` here, for tests and embedding, and `ProcessChecker` in
`check_process`, whose work can be killed. Verdicts are remembered: the same constraint always gets the same one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import msgspec
from anyio import CapacityLimiter, to_thread

from espalier.gateway.errors import ApiError, invalid
from espalier.gateway.wire.answers import Coverage
from espalier.grammar import (
    AnyConstraint,
    GrammarError,
    GrammarTooLargeError,
    UnsatisfiableError,
    Vocabulary,
    compile_grammar,
)

MOST_VERDICTS = 4096
CODES: dict[type[GrammarError], str] = {
    UnsatisfiableError: "unsatisfiable_schema",
    GrammarTooLargeError: "schema_too_large",
}


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What compiling a constraint came to: `code` and `message` if it is refused, else which keywords hold.

    `is_final` False: with more time it might have come to something else.
    """

    code: str | None = None
    message: str = ""
    coverage: Coverage = Coverage()
    is_final: bool = True


class SchemaChecker(Protocol):
    """Judges constraints without holding up the event loop."""

    async def judge(self, constraint: AnyConstraint) -> Verdict:
        """Compile a constraint and say what came of it."""
        ...


def judged(constraint: AnyConstraint, vocabulary: Vocabulary) -> Verdict:
    """The verdict on a constraint without special tokens; `vocabulary` is of the 256 bytes."""
    try:
        found = compile_grammar(constraint, vocabulary).coverage()
    except GrammarError as error:
        code = next((code for kind, code in CODES.items() if isinstance(error, kind)), "invalid_schema")
        return Verdict(code, str(error)[:1000])
    return Verdict(coverage=Coverage(**found))


def byte_vocabulary() -> Vocabulary:
    """A vocabulary of the 256 bytes: what can be said at all does not depend on tokens."""
    return Vocabulary([bytes([byte]) for byte in range(256)])


class ThreadChecker:
    """Compiles in a thread of this process, one constraint after the other."""

    def __init__(self) -> None:
        self._limiter: CapacityLimiter | None = None
        self._vocabulary = byte_vocabulary()

    async def judge(self, constraint: AnyConstraint) -> Verdict:
        """See `SchemaChecker.judge`."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(1)
        return await to_thread.run_sync(judged, constraint, self._vocabulary, limiter=self._limiter)


class SchemaCheck:
    """Asks a checker about the constraints of a request, each once; of a tenant's one at a time, so that others come in
    between.
    """

    def __init__(self, checker: SchemaChecker) -> None:
        self._checker = checker
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}  # of tenants that ask, and how many of their requests do

    async def check(self, fields: Sequence[tuple[str, AnyConstraint]], tenant: str = "") -> Coverage:
        """What of all of them is enforced. Raises ApiError with the field (the first of each pair) that can't be."""
        verdicts = [(where, await self._verdict(constraint, tenant)) for where, constraint in fields]
        for where, verdict in verdicts:
            if verdict.code is not None:
                raise refusal(where, verdict)
        return merged([verdict.coverage for _, verdict in verdicts])

    async def _verdict(self, constraint: AnyConstraint, tenant: str) -> Verdict:
        key = hashlib.blake2b(msgspec.msgpack.encode(constraint), digest_size=16).digest()
        found = self._known.get(key)
        if found is None:
            async with self._turn(tenant):
                found = await self._checker.judge(constraint)
            if not found.is_final:
                return found
            self._known[key] = found
            while len(self._known) > MOST_VERDICTS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return found

    @asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncGenerator[None, None]:
        lock, num_asking = self._turns.get(tenant, (asyncio.Lock(), 0))
        self._turns[tenant] = lock, num_asking + 1
        try:
            async with lock:
                yield
        finally:
            lock, num_asking = self._turns.pop(tenant)
            if num_asking > 1:
                self._turns[tenant] = lock, num_asking - 1


def refusal(where: str, verdict: Verdict) -> ApiError:
    """How a constraint that can't be kept is refused."""
    return invalid(f"{where}: {verdict.message}", where, verdict.code)


def merged(several: Sequence[Coverage]) -> Coverage:
    """What is enforced in any of several."""
    names = Coverage.__struct_fields__
    return Coverage(**{name: sorted({word for one in several for word in getattr(one, name)}) for name in names})
