"""A nursery of processes that serve the whole gateway, with a model that plays a script, until they are killed.

    python examples/sessions/busy_server.py FOLDER PHASE_FILE

Tells the port first. All processes listen on the same socket, so that clients only see answers that do not come.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

import nursery
import uvicorn
from phase import PhaseFile, announcing

from espalier.engine.hub import locate
from espalier.engine.messages import Generate, Output, Ready, Usage
from espalier.engine.options import BUNDLED_MODEL
from espalier.engine.tokenizer import Tokenizer
from espalier.gateway.app import create_app
from espalier.gateway.options import GatewayOptions
from espalier.gateway.scripted_client import ScriptedClient
from espalier.sessions import Sessions
from espalier.sessions.store import Store

TEXTS = ("I ", "was ", "told.")


async def serve(folder: Path, phase: PhaseFile, listener: socket.socket, tokenizer: Tokenizer) -> None:
    """The gateway on a socket, for ever."""

    def script(request: Generate) -> Iterable[Output]:
        for number, text in enumerate(TEXTS, 1):
            reason = "stop" if number == len(TEXTS) else None
            usage = Usage(len(request.token_ids), 0, number)
            yield Output(request.request_id, text, tokenizer.encode(text), finish_reason=reason, usage=usage)

    ready = Ready(model="x", max_context=2**30, vocab_size=tokenizer.vocab_size, num_slots=2**30, max_running=256)
    sessions = await Sessions.over(Store.open(folder, connect=announcing(phase)))
    app = create_app(
        ScriptedClient(script, ready=ready),
        folder=locate(BUNDLED_MODEL),
        model="x",
        options=GatewayOptions(),
        sessions=sessions,
    )
    config = uvicorn.Config(app, log_level="critical", lifespan="on")
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """See the module."""
    folder, phase = Path(sys.argv[1]), PhaseFile(Path(sys.argv[2]))
    listener = socket.create_server(("127.0.0.1", 0))
    tokenizer = Tokenizer.load(locate(BUNDLED_MODEL))
    nursery.tell(f"port {listener.getsockname()[1]}")
    nursery.run(lambda line: asyncio.run(serve(folder, phase, listener, tokenizer)))


if __name__ == "__main__":
    main()
