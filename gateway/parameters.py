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


NO_TOOLS_YET = "function calling is not built yet"
NO_GRAMMAR_YET = "structured output is not built yet"
NO_SESSIONS_YET = "sessions are not built yet"

SAMPLING = frozenset(
    "max_tokens temperature top_p top_k min_p n stop seed logit_bias presence_penalty frequency_penalty "
    "repetition_penalty min_tokens ignore_eos stop_token_ids include_stop_str_in_output skip_special_tokens stream "
    "stream_options model".split()
)
HONOURED = {
    "chat": SAMPLING | frozenset("messages logprobs top_logprobs max_completion_tokens cache_salt".split()),
    "completions": SAMPLING | frozenset("prompt logprobs echo cache_salt".split()),
}
# They label, bill or hint; no answer depends on them.
WITHOUT_EFFECT = frozenset(
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention prediction "
    "reasoning reasoning_effort include verbosity parallel_tool_calls request_id priority".split()
)
REFUSED: dict[str, Refused] = {
    "tools": Refused(NO_TOOLS_YET, ([],)),
    "tool_choice": Refused(NO_TOOLS_YET, ("none", "auto")),
    "functions": Refused(NO_TOOLS_YET, ([],)),
    "function_call": Refused(NO_TOOLS_YET, ("none", "auto")),
    "response_format": Refused(NO_GRAMMAR_YET, ({"type": "text"},)),
    "structured_outputs": Refused(NO_GRAMMAR_YET, ({},)),
    "guided_json": Refused(NO_GRAMMAR_YET),
    "guided_regex": Refused(NO_GRAMMAR_YET),
    "guided_choice": Refused(NO_GRAMMAR_YET),
    "guided_grammar": Refused(NO_GRAMMAR_YET),
    "regex": Refused(NO_GRAMMAR_YET),
    "ebnf": Refused(NO_GRAMMAR_YET),
    "session_id": Refused(NO_SESSIONS_YET, ("",)),
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


def select(given: Mapping[str, Any], route: str) -> dict[str, Any]:
    """The parameters that the route honours; null counts as absent. Raises ApiError for one that is refused."""
    chosen: dict[str, Any] = {}
    if route == "chat" and given.get("tool_choice") == "none" and given.get("tools"):
        # Told to the model, as when the calls in the history were made, but none is asked for.
        chosen["tools"] = given["tools"]
    for name, value in given.items():
        if value is None or name in WITHOUT_EFFECT or name in chosen:
            continue
        if name in HONOURED[route]:
            chosen[name] = value
        elif name in REFUSED:
            refused = REFUSED[name]
            if not any(value == neutral and type(value) is type(neutral) for neutral in refused.neutral):
                raise invalid(
                    f"{name} is not supported: {refused.reason}. Leave it out.", name, "unsupported_parameter"
                )
        else:
            raise invalid(f"unknown parameter {name[:64]!r}", name[:64], "unknown_parameter")
    return chosen
