"""Verdicts on constraints: the same from a thread and from a process, which can be killed and comes back."""

from __future__ import annotations

import asyncio
import io
import struct

import msgspec
import pytest

from espalier.gateway.check_process import ProcessChecker, main
from espalier.gateway.errors import ApiError
from espalier.gateway.schema_check import SchemaCheck, ThreadChecker, Verdict
from espalier.gateway.wire.answers import Coverage
from espalier.grammar import AnyConstraint, Json, Regex

pytestmark = pytest.mark.anyio
PERSON = Json({"type": "object", "properties": {"a": {"type": "string", "format": "date"}}, "title": "x"})
CASES: list[tuple[AnyConstraint, str | None]] = [
    (PERSON, None),
    (Json({"type": "strange"}), "invalid_schema"),
    (Json({"allOf": [{"type": "string"}, {"type": "object"}]}), "unsatisfiable_schema"),
    (Json({"enum": list(range(100_001))}), "schema_too_large"),
    (Regex("("), "invalid_schema"),
]


class CountingChecker:
    """Counts what it is asked."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict, self.num_asked = verdict, 0

    async def judge(self, constraint: AnyConstraint) -> Verdict:
        self.num_asked += 1
        return self.verdict


async def test_a_process_says_what_a_thread_says() -> None:
    thread, process = ThreadChecker(), ProcessChecker()
    try:
        for constraint, code in CASES:
            verdict = await thread.judge(constraint)
            assert verdict.code == code and bool(verdict.message) == (code is not None)
            assert await process.judge(constraint) == verdict
    finally:
        await process.close()


async def test_a_constraint_that_takes_too_long_is_refused_and_the_next_one_judged() -> None:
    process = ProcessChecker(timeout_s=0.001)
    try:
        verdict = await process.judge(PERSON)  # the interpreter alone takes longer to start
        assert verdict.code == "schema_too_large" and "compile_s" in verdict.message and not verdict.is_final
    finally:
        await process.close()


def test_the_process_answers_until_its_input_ends() -> None:
    body, length = msgspec.msgpack.encode(PERSON), struct.Struct(">I")
    told = io.BytesIO()
    main(io.BytesIO((length.pack(len(body)) + body) * 2), told)
    (size,) = length.unpack(told.getvalue()[:4])
    assert msgspec.msgpack.decode(told.getvalue()[4 : 4 + size], type=Verdict).code is None
    assert len(told.getvalue()) == 2 * (4 + size)


async def test_what_holds_is_told_of_all_constraints_together() -> None:
    found = await SchemaCheck(ThreadChecker()).check([("a", PERSON), ("b", Json({"minimum": 1}))])
    assert found.enforced == ["minimum", "properties", "type"]
    assert found.annotations == ["format", "title"]


async def test_the_field_at_fault_is_named() -> None:
    with pytest.raises(ApiError) as caught:
        await SchemaCheck(ThreadChecker()).check([("tools[0]", PERSON), ("tools[1]", Json({"type": 5}))])
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, "tools[1]", "invalid_schema")


async def test_a_verdict_is_remembered_unless_it_might_have_been_another_one() -> None:
    checker = CountingChecker(Verdict(coverage=Coverage(["type"])))
    check = SchemaCheck(checker)
    for _ in range(3):
        assert (await check.check([("a", PERSON)])).enforced == ["type"]
    assert checker.num_asked == 1
    hasty = CountingChecker(Verdict("schema_too_large", "over the limit compile_s", is_final=False))
    check = SchemaCheck(hasty)
    for _ in range(2):
        with pytest.raises(ApiError):
            await check.check([("a", PERSON)])
    assert hasty.num_asked == 2


async def test_a_tenant_that_asks_much_lets_others_come_in_between() -> None:
    order: list[str] = []

    class Slow:
        """Judges when it is told to, and first come first served."""

        async def judge(self, constraint: AnyConstraint) -> Verdict:
            async with turn:
                assert isinstance(constraint, Regex)
                order.append(constraint.pattern)
                await asyncio.sleep(0)
            return Verdict()

    turn = asyncio.Lock()
    check = SchemaCheck(Slow())
    flood = [asyncio.create_task(check.check([("regex", Regex(f"a{at}"))], "a")) for at in range(20)]
    await asyncio.sleep(0)
    await check.check([("regex", Regex("b"))], "b")
    await asyncio.gather(*flood)
    assert len(order) == 21 and order.index("b") <= 2
