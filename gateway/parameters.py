"""Every parameter of the API in one table: honoured, accepted without effect, or refused.

A refused parameter passes with a value under which it would change nothing. What is in no table is refused as unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espalier.gateway.errors import invalid


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a parameter is refused, and the values that change nothing."""

    reason: str
    neutral: tuple[Any, ...] = ()


NO_BNF = "grammars in BNF are not built; a JSON Schema, a regex or a choice is"
NO_FUNCTIONS = "it was replaced by tools"
NO_SESSIONS = "sessions are named in /v1/chat/completions"

SAMPLING = frozenset(
    "max_tokens temperature top_p top_k min_p n stop seed logit_bias presence_penalty frequency_penalty "
    "repetition_penalty min_tokens ignore_eos stop_token_ids include_stop_str_in_output skip_special_tokens stream "
    "stream_options model".split()
)
ANSWER_FORM = frozenset("response_format structured_outputs guided_json guided_regex guided_choice regex".split())
HONOURED = {
    "chat": SAMPLING
    | ANSWER_FORM
    | frozenset(
        "messages logprobs top_logprobs max_completion_tokens cache_salt tools tool_choice parallel_tool_calls "
        "session_id session_mode prompt_cache_key prompt_cache_retention".split()
    ),
    "completions": SAMPLING | ANSWER_FORM | frozenset("prompt logprobs echo cache_salt".split()),
}
HONOURED["responses"] = frozenset(
    "input model instructions previous_response_id conversation store background stream stream_options tools "
    "tool_choice parallel_tool_calls text include metadata truncation max_output_tokens temperature top_p top_k min_p "
    "presence_penalty frequency_penalty repetition_penalty seed stop ignore_eos min_tokens logit_bias top_logprobs "
    "cache_salt service_tier max_tool_calls reasoning safety_identifier prompt_cache_key prompt_cache_retention "
    "user".split()
)
HONOURED["count_tokens"] = frozenset("model messages system tools tool_choice output_config".split())
HONOURED["messages"] = HONOURED["count_tokens"] | frozenset(
    "max_tokens stream temperature top_p top_k stop_sequences cache_salt".split()
)
# They label, bill or hint; no answer depends on them. What a route honours comes first.
WITHOUT_EFFECT = frozenset(
    "user metadata store service_tier safety_identifier prediction reasoning reasoning_effort include verbosity "
    "request_id priority guided_decoding_backend".split()
)
REFUSED: dict[str, Refused] = {
    "functions": Refused(NO_FUNCTIONS, ([],)),
    "function_call": Refused(NO_FUNCTIONS, ("none", "auto")),
    "guided_grammar": Refused(NO_BNF),
    "guided_whitespace_pattern": Refused("white space is the server's: one space behind each comma and colon"),
    "ebnf": Refused(NO_BNF),
    "modalities": Refused("this server answers with text", (["text"],)),
    "audio": Refused("this server answers with text"),
    "web_search_options": Refused("this server has no web search"),
    "suffix": Refused("filling in the middle is not built", ("",)),
    "best_of": Refused("use n", (1,)),
    "use_beam_search": Refused("beam search is not built", (False,)),
    "length_penalty": Refused("beam search is not built", (1, 1.0)),
    "prompt_logprobs": Refused("log-probabilities of the prompt are not built"),
    "chat_template": Refused("a template comes with the model, never with a request"),
    "chat_template_kwargs": Refused("templates take no variables from requests", ({},)),
    "add_generation_prompt": Refused("the answer is always a new message", (True,)),
    "continue_final_message": Refused("the answer is always a new message", (False,)),
}
# Besides those, by route.
_CACHE_HINTS = frozenset({"prompt_cache_key", "prompt_cache_retention"})
_ANTHROPIC_HINTS = _CACHE_HINTS | frozenset("thinking cache_control speed user_profile_id workspace_id betas".split())
NO_TOOLS = "only chats have tools; use /v1/chat/completions"
WITHOUT_EFFECT_IN = {
    "completions": _CACHE_HINTS | {"parallel_tool_calls"},
    "responses": frozenset("prompt_cache_options access_programs".split()),
    "messages": _ANTHROPIC_HINTS,
    "count_tokens": _ANTHROPIC_HINTS,
}
_ANTHROPIC_REFUSED = {
    "container": Refused("this server runs no code"),
    "mcp_servers": Refused("this server calls no tools by itself", ([],)),
    "context_management": Refused("this server edits no context", ({},)),
    "diagnostics": Refused("usage says what was cached"),
    "inference_geo": Refused("this server runs where it runs"),
    "thread": Refused("threads of this API are not kept; send all messages"),
    "compaction": Refused("this server compacts no context"),
    "fallbacks": Refused("this server has one model", ([],)),
    "fallback_credit_token": Refused("this server has one model"),
    "billing_policy": Refused("this server bills nobody"),
}
_NO_SESSIONS = {"session_id": Refused(NO_SESSIONS, ("",))}
REFUSED_IN: dict[str, dict[str, Refused]] = {
    "completions": {
        **_NO_SESSIONS,
        "tools": Refused(NO_TOOLS, ([],)),
        "tool_choice": Refused(NO_TOOLS, ("none", "auto")),
    },
    "responses": {
        **_NO_SESSIONS,
        "prompt": Refused("this server stores no prompt templates"),
        "context_management": Refused("this server compacts no context", ([],)),
        "moderation": Refused("this server moderates nothing"),
        "background_options": Refused("background responses begin at once", ({},)),
        "image": Refused("this server answers with text"),
    },
    "messages": _ANTHROPIC_REFUSED | _NO_SESSIONS,
    "count_tokens": _ANTHROPIC_REFUSED | _NO_SESSIONS,
}


def select(given: Mapping[str, Any], route: str) -> dict[str, Any]:
    """The parameters that the route honours; null counts as absent. Raises ApiError for one that is refused."""
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in HONOURED[route]:
            chosen[name] = value
        elif name in WITHOUT_EFFECT or name in WITHOUT_EFFECT_IN.get(route, ()):
            continue
        elif (refused := REFUSED_IN.get(route, {}).get(name) or REFUSED.get(name)) is not None:
            if not any(value == neutral and type(value) is type(neutral) for neutral in refused.neutral):
                raise invalid(
                    f"{name} is not supported: {refused.reason}. Leave it out.", name, "unsupported_parameter"
                )
        else:
            raise invalid(f"unknown parameter {name[:64]!r}", name[:64], "unknown_parameter")
    return chosen
