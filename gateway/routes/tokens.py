"""POST /tokenize and /detokenize."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from espalier.gateway.connection import read_body
from espalier.gateway.errors import invalid
from espalier.gateway.prompter import UNBOUNDED
from espalier.gateway.response import JsonResponse
from espalier.gateway.service import Service
from espalier.gateway.wire.body import convert, parse
from espalier.gateway.wire.requests import DetokenizeRequest, TokenizeRequest


def routes(service: Service) -> list[Route]:
    """The routes of this file."""
    prompter, options = service.prompter, service.options

    async def fields(request: Request) -> dict[str, Any]:
        given = parse(await read_body(request, options.max_body_bytes))
        return {name: value for name, value in given.items() if value is not None}

    async def tokenize(request: Request) -> Response:
        asked = convert(await fields(request), TokenizeRequest)
        service.check_model(asked.model)
        if (asked.prompt is None) == (asked.messages is None):
            raise invalid("give either prompt or messages", "prompt")
        length = service.ready().max_context
        if asked.messages is not None:
            # Nothing is dropped here: who counts tokens wants to know how many there are.
            generation = asked.add_generation_prompt
            prompt = await prompter.chat(asked.messages, UNBOUNDED, generation=generation)
        else:
            prompt = await prompter.text(asked.prompt or "", UNBOUNDED, special=asked.add_special_tokens)
        spelled = [prompter.tokenizer.token_text(i) for i in prompt.token_ids] if asked.return_token_strs else None
        return JsonResponse(
            {"tokens": prompt.token_ids, "count": len(prompt.token_ids), "max_model_len": length, "token_strs": spelled}
        )

    async def detokenize(request: Request) -> Response:
        asked = convert(await fields(request), DetokenizeRequest)
        service.check_model(asked.model)
        vocab_size = service.ready().vocab_size
        if bad := [token_id for token_id in asked.tokens if token_id >= vocab_size]:
            raise invalid(f"tokens holds {bad[0]}; the vocabulary ends at {vocab_size - 1}", "tokens")
        return JsonResponse({"prompt": prompter.tokenizer.decode(asked.tokens, skip_special=False)})

    return [Route("/tokenize", tokenize, methods=["POST"]), Route("/detokenize", detokenize, methods=["POST"])]
