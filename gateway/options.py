"""What can be chosen about a gateway: one frozen dataclass beside `EngineOptions`, read from the same places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from espalier.engine.options import option

Overflow = Literal["error", "truncate"]
CallFormatName = Literal["auto", "none", "hermes", "llama3", "mistral", "mistral-v3", "mistral-args", "pythonic"]
RewrittenHistory = Literal["template", "tokens"]
ReasoningName = Literal["auto", "none", "think", "mistral-think"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """Options of the HTTP server. Limits are refused with the limit's name."""

    host: str = option("127.0.0.1", "address to listen on; anything but loopback needs API keys")
    port: int = option(8000, "port to listen on; 0 takes a free one")
    served_model_name: str | None = option(None, "the model's name in the API; default the checkpoint's own")
    api_keys_file: Path | None = option(None, "file of lines '<tenant> <sha256 of the key in hex>'")
    data_dir: Path | None = option(
        None, "where sessions and compiled kernels are stored; default the user's data and cache"
    )
    overflow: Overflow = option(
        "error", "a conversation longer than the context: an error, or drop its oldest messages"
    )
    rewritten_history: RewrittenHistory = option(
        "template", "where the chat template rewrites a session's past (drops reasoning): its text, or the old tokens"
    )
    session_ttl_s: float = option(30 * 86400.0, "how long a session lives without use")
    max_body_bytes: int = option(8 * 2**20, "largest request body")
    max_prompt_bytes: int = option(4 * 2**20, "largest text of a prompt, before it is tokenized")
    max_n: int = option(16, "most answers to one request")
    max_logprobs: int = option(20, "most alternatives for each token")
    max_stop: int = option(16, "most stop strings of a request")
    request_timeout_s: float = option(600.0, "longest time of a request before it is aborted")
    resume_grace_s: float = option(60.0, "how long a turn with an Idempotency-Key goes on after its client has left")
    drain_timeout_s: float = option(30.0, "how long running requests may go on after SIGTERM")
    call_format: CallFormatName = option("auto", "how the model writes calls; auto knows it by the chat template")
    reasoning: ReasoningName = option("auto", "how the model marks its reasoning; auto knows it by the chat template")
    strict_tools: bool = option(True, "arguments satisfy their schema, also of tools that do not ask for `strict`")
    prefill_results: bool = option(True, "compute what stands before a tool's result while the tool runs")
    check_answers: bool = option(False, "validate structured answers again with the jsonschema package (for debugging)")
    price_input: float | None = option(None, "money for a million tokens of prompts; answers then say their cost")
    price_cached_input: float | None = option(None, "money for a million tokens of prompts that were warm")
    price_output: float | None = option(None, "money for a million tokens of answers")
    log_level: Literal["debug", "info", "warning", "error"] = option("info", "least severe log record written")
