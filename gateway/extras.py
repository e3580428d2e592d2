"""What an answer says beside its API: what was left out, what of a schema is enforced, which turn it is."""

from __future__ import annotations

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from espalier.gateway.answer_event import Finished
from espalier.gateway.cache_report import Origin, Price, report
from espalier.gateway.service import Prepared, Service
from espalier.gateway.wire.answers import Extras, LostAnswer
from espalier.sessions import Turn


def at_end(service: Service, prepared: Prepared, finished: Finished) -> Extras:
    """What is known at the end of an answer: which of its prompt was warm, why the rest was not, and the cost."""
    prompt, missed, options = prepared.prompt, finished.missed, service.options
    kept_len = 0 if prompt.splice is None else prompt.splice.kept_len
    tail = [] if missed is None or missed.at < 0 else prompt.token_ids[missed.at :]
    cache = report(
        finished.usage,
        missed,
        Origin(kept_len, prompt.history_len, prepared.left_len),
        tail=service.prompter.tokenizer.decode(tail, skip_special=False),
        messages=prompt.messages,
        markers=tuple(service.prompter.tokenizer.markers.aliases),
        tokens_per_s=service.client.stats.prefill_tokens_per_s,
    )
    if options.price_input is None or options.price_output is None:
        return Extras(cache=cache)
    price = Price(options.price_input, options.price_cached_input, options.price_output)
    return Extras(cache=cache, cost=price.of(finished.usage))


def merged(said: Extras | UnsetType, more: Extras) -> Extras | UnsetType:
    """Both together; what `more` says goes before. Left out where it would be empty."""
    told = {name: value for name in Extras.__struct_fields__ if (value := getattr(more, name)) is not None}
    both = replace(Extras() if said is UNSET else said, **told)
    return UNSET if both == Extras() else both


def extras_of(prepared: Prepared, turn: Turn | None = None) -> Extras | UnsetType:
    """The `espalier` block of an answer, stored as `turn` or not; left out where it would be empty."""
    prompt = prepared.prompt
    lost = None if prompt.splice is None else prompt.splice.lost
    extras = Extras(
        truncation=prompt.truncation,
        schema=prepared.coverage,
        session_id=None if turn is None else turn.session_id,
        turn_id=None if turn is None else turn.id,
        lossless=None if turn is None else lost is None,
        lost=None if lost is None else LostAnswer(lost.turn_id, lost.token, lost.reason),
    )
    return UNSET if extras == Extras() else extras
