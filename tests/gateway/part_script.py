"""Scripts for answers with parts, as the engine tells them where a grammar masks: reasoning, text, calls."""

from __future__ import annotations

from collections.abc import Iterable

from espalier.engine.messages import Generate, Output, PartBegun, PartEnded, PartEvent, PartText, Usage
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.scripted_client import Script
from tests.gateway.answers import Whole, chunks


def tells(whole: Whole, size: int = 5, *, cached_tokens: int = 0) -> Script:
    """A script that says `whole`, one output for each piece of at most `size` characters."""

    def script(request: Generate) -> Iterable[Output | Exception]:
        pieces = list(_pieces(whole, size)) if request.params.constraint is not None else _texts(whole, size)
        for number, (text, parts) in enumerate(pieces):
            is_last = number == len(pieces) - 1
            reason = "length" if whole.is_cut else "stop"
            yield Output(
                request.request_id,
                text,
                [number],
                finish_reason=reason if is_last else None,  # type: ignore[arg-type]
                usage=Usage(len(request.token_ids), cached_tokens, number + 1),
                parts=parts,
            )

    return script


def writes(tokenizer: Tokenizer, text: str) -> Script:
    """A script that says `text` at once, in the very tokens that the tokenizer writes, and ends as models end."""
    token_ids = [*tokenizer.encode(text), min(tokenizer.end_token_ids)]

    def script(request: Generate) -> Iterable[Output | Exception]:
        usage = Usage(len(request.token_ids), 0, len(token_ids))
        yield Output(request.request_id, text, token_ids, finish_reason="stop", usage=usage)

    return script


def _texts(whole: Whole, size: int) -> list[tuple[str, tuple[PartEvent, ...]]]:
    assert not whole.reasoning and not whole.calls
    return [(text, ()) for text in chunks(whole.text, size)] or [("", ())]


def _pieces(whole: Whole, size: int) -> Iterable[tuple[str, tuple[PartEvent, ...]]]:
    yield from (("", parts) for parts in _part("reasoning", whole.reasoning, size))
    yield from (("", parts) for parts in _part("text", whole.text, size))
    for at, (name, arguments) in enumerate(whole.calls):
        is_cut = whole.is_cut and at == len(whole.calls) - 1
        yield from (("", parts) for parts in _part("name", name, size))
        yield from (("", parts) for parts in _part("arguments", arguments, size, is_cut=is_cut))
    yield "", ()


def _part(name: str, text: str, size: int, *, is_cut: bool = False) -> Iterable[tuple[PartEvent, ...]]:
    if text:
        yield (PartBegun(name),)
        yield from ((PartText(name, chunk),) for chunk in chunks(text, size))
        yield (PartEnded(name, 1, is_cut),)
