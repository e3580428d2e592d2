"""What the gateway and an engine process say to each other, and what `Engine` takes and returns.

Small frozen structs, msgpack on the wire, each frame preceded by its length as four bytes, big endian. The engine
speaks token ids; it alone turns them into text, so that a stop string and the stream cut at the same byte.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from espalier.grammar import AnyConstraint

FinishReason = Literal["stop", "length", "abort", "error"]


class Message(msgspec.Struct, frozen=True, tag_field="kind", tag=str.lower, omit_defaults=True):
    """Root of all messages; `kind` on the wire is the class name in lower case."""


class SamplingParams(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one request draws its tokens. Ranges are checked where a request enters (`engine.sampling_params.check`).

    `temperature` 0 is greedy. `top_k` 0 and `top_p` 1 and `min_p` 0 are off. `seed` None draws one for the request.
    `max_tokens` None is bounded by the context alone. `logprobs` None is none, n >= 0 gives the drawn token's
    log-probability and those of the n best (of the model's own distribution, before temperature and bias).
    `stop_token_ids` end the answer besides the model's own end tokens; `ignore_eos` switches the model's own off.
    `logit_bias` are pairs of token id and addend.

    `constraint` is what the answer has to be (see `espalier.grammar`): it then always is, also when `max_tokens` runs
    out: in time, only tokens are allowed after which it can still be completed. An answer that was brought to its end
    so says `closed_by_budget`, and `closed_by_budget_as` is its finish reason. It ends as soon as nothing else is
    allowed, so `min_tokens` may not be reached, and `ignore_eos` is refused. `logprobs` are of the model's own
    distribution there, too; where they are asked for, every token is drawn, none is forced.

    Where the constraint names parts, `stop` and `stop_token_ids` are looked for in the parts of `stop_in` alone (None:
    in all of them, and between them): what a user would call the text, not in reasoning or in the arguments of a call.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    max_tokens: int | None = None
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    stop_in: tuple[str, ...] | None = None
    include_stop_text: bool = False
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    logprobs: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    skip_special_tokens: bool = True
    constraint: AnyConstraint | None = None
    closed_by_budget_as: Literal["length", "stop"] = "length"


class Retention(msgspec.Struct, frozen=True, omit_defaults=True):
    """What may become of a request's state below the device.

    It is written `to_disk` or not. With `keep_s` it is saved in any case, goes after what has no such time, and is
    removed then; without, a session's state is saved and kept as long as there is room.
    """

    to_disk: bool = True
    keep_s: float | None = None


class Generate(Message, frozen=True, tag="generate"):
    """Ask for one answer to `token_ids`. `request_id` is unique among running requests.

    `tenant` and `cache_salt` choose the root of the prefix tree: prefixes are shared only where both are equal.
    `session` is an opaque key, unique over all tenants: the end of this request becomes the session's tip, see `Hold`.
    Where `is_group`, it names no conversation but several that begin alike: what lies beside the new tip is not left.
    """

    request_id: str
    token_ids: list[int]
    params: SamplingParams = SamplingParams()
    tenant: str = ""
    cache_salt: str = ""
    session: str = ""
    is_group: bool = False
    retention: Retention = Retention()


class Abort(Message, frozen=True, tag="abort"):
    """Stop a request; its slots are free within one step, after which an `Output` with finish reason abort is sent."""

    request_id: str


class Hold(Message, frozen=True, tag="hold"):
    """A session's turn ended in tool calls: keep its state, if that is the cheapest, until they are answered.

    `waits_s` are the quantiles of the time they take, at `radix.decision.LEVELS`; () where nothing is known. Of two
    sessions the one with the higher `priority` stays. Never held longer than `ttl_s`, and, as far as the leases' budget
    allows, not less than `at_least_s`, whatever it costs: a client's wish.
    """

    session: str
    waits_s: tuple[float, ...] = ()
    priority: int = 0
    ttl_s: float = 600.0
    at_least_s: float = 0.0


class Release(Message, frozen=True, tag="release"):
    """A session's state need not be kept any more than others'."""

    session: str


class Fork(Message, frozen=True, tag="fork"):
    """Another session begins where this one is."""

    session: str
    other: str


class Forget(Message, frozen=True, tag="forget"):
    """These tokens were deleted: their ids and their state go from all tiers, as far as no other path has them.

    One for each leaf of the turns of a session that is deleted; `session`, if not "", ends with it.
    """

    tenant: str
    cache_salt: str
    token_ids: list[int]
    session: str = ""


class Ahead(Message, frozen=True, tag="ahead"):
    """A prompt will begin with these tokens: their state is computed now, if nobody waits for anything else."""

    token_ids: list[int]
    tenant: str = ""
    cache_salt: str = ""


SessionNote = Hold | Release | Fork | Forget | Ahead
"""What the gateway tells of sessions and of what is to come; nothing comes back, unknown sessions are ignored."""


class Drain(Message, frozen=True, tag="drain"):
    """Finish what was accepted, then end the process."""


class TopLogprob(msgspec.Struct, frozen=True, array_like=True):
    """One alternative: token id, natural log-probability."""

    token_id: int
    logprob: float


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The drawn token's log-probability and the best alternatives, best first."""

    token_id: int
    logprob: float
    top: tuple[TopLogprob, ...] = ()


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of a request: prompt, those of them found at first admission, generated.

    `written_tokens` of the prompt are in the prefix tree by this request: not found, nor computed by another meanwhile.
    Of those found, `host_tokens` came up from host memory and `disk_tokens` from disk; the rest was on the device.
    `reasoning_tokens` are those of the generated ones that come before the answer proper; the engine knows no part's
    meaning and says 0, who reads the parts counts them.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    host_tokens: int = 0
    disk_tokens: int = 0
    written_tokens: int = 0


MissCause = Literal["new", "evicted", "demoted"]


class Missed(msgspec.Struct, frozen=True, array_like=True):
    """Where a prompt was not found any more: at its token `at`, counted from 0, and why.

    Token `at` was never there for this tenant and salt ("new"), or it was and is gone, with the tokens behind it
    `num_evicted` ("evicted"), or it lies in a lower tier, from where loading would have cost more than computing
    ("demoted").
    """

    at: int
    cause: MissCause
    num_evicted: int = 0


class Timings(msgspec.Struct, frozen=True, array_like=True):
    """Seconds of a request inside the engine, set in its last output; `preemptions` counts recomputes."""

    queue_s: float = 0.0
    first_token_s: float = 0.0
    total_s: float = 0.0
    preemptions: int = 0


class PartBegun(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A part of the answer begins that its constraint has a name for."""

    part: str


class PartText(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """More of a named part, in whole characters."""

    part: str
    text: str


class PartEnded(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A named part is over after `num_tokens` of the answer; `by_budget` if those that were left had a say in it."""

    part: str
    num_tokens: int
    by_budget: bool = False


PartEvent = PartBegun | PartText | PartEnded


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one step added to one request.

    `text` is the new text that can no longer change (held back while it may still begin a stop string or while a
    character is incomplete); `token_ids` are the tokens of this step. The last output has `finish_reason`; with "stop",
    `stop_reason` is the stop string or the token id that ended it, None for the model's own end token. With "error",
    `error_code` and `error_message` say why and `retriable` whether the same request may be sent again.
    `closed_by_budget`: a constrained answer was brought to its end because its tokens ran out; it is complete.
    Where the constraint names parts, `parts` comes in place of `text`: no parser has to find out what the text is made
    of. What has no name (markers, what separates calls) is left out.
    """

    request_id: str
    text: str = ""
    token_ids: list[int] = []
    logprobs: list[TokenLogprob] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    usage: Usage = Usage()
    timings: Timings | None = None
    missed: Missed | None = None
    error_code: str | None = None
    error_message: str | None = None
    error_param: str | None = None
    retriable: bool = False
    closed_by_budget: bool = False
    parts: tuple[PartEvent, ...] = ()


class Stats(msgspec.Struct, frozen=True, omit_defaults=True):
    """Gauges and running totals of an engine after a step; totals only grow while the process lives."""

    step: int = 0
    running: int = 0
    waiting: int = 0
    slots_total: int = 0
    slots_used: int = 0
    slots_cached: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    computed_tokens: int = 0
    generated_tokens: int = 0
    forced_tokens: int = 0
    drafted_tokens: int = 0
    confirmed_tokens: int = 0
    redrawn_tokens: int = 0
    sparse_rows: int = 0
    preemptions: int = 0
    failed: int = 0
    prefill_tokens_per_s: float = 0.0
    evicted_tokens: int = 0
    leases: int = 0
    slots_leased: int = 0
    leases_demoted: int = 0
    host_tokens: int = 0
    disk_tokens: int = 0
    loaded_tokens: int = 0


class StepOutputs(Message, frozen=True, tag="step_outputs"):
    """All outputs of one step, in one frame."""

    outputs: list[Output]
    stats: Stats


class FitRow(msgspec.Struct, frozen=True, array_like=True):
    """One line of the table of what fits: a name, its value as text."""

    name: str
    value: str


class Ready(Message, frozen=True, tag="ready"):
    """The model is loaded. `fit` is the table of what fits; `max_context` in tokens, prompt and answer together."""

    model: str
    max_context: int
    vocab_size: int
    num_slots: int
    max_running: int
    fit: list[FitRow] = []


class Beat(Message, frozen=True, tag="beat"):
    """The engine's loop turns; sent at least every second while nothing else is."""

    stats: Stats


class Failed(Message, frozen=True, tag="failed"):
    """The engine can't start (a checkpoint, memory); the process ends after it."""

    code: str
    message: str


class Drained(Message, frozen=True, tag="drained"):
    """All accepted work is finished; the process ends."""


ToEngine = Generate | Abort | Drain | Hold | Release | Fork | Forget | Ahead
FromEngine = StepOutputs | Ready | Beat | Failed | Drained
