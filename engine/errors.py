"""Errors of the engine.

    EngineError                      the root: every error a caller of `espalier.engine` may catch
    ├── CheckpointError              a checkpoint is missing, incomplete or malformed
    │   └── UnsupportedModelError    an architecture, rope scaling or dtype that is not implemented
    ├── DoesNotFitError              weights or KV slots exceed the memory given
    ├── RequestError                 one request can't be served as asked; the others go on
    │   ├── ContextOverflowError     prompt and answer are longer than the context
    │   └── TemplateError            the chat template refuses these messages
    ├── BlockedError                 constraint, bias and min_tokens together leave a request no token
    ├── NanLogitsError               the model gave logits that are no numbers
    ├── OverloadedError              too many requests wait; the request may be sent again later
    ├── FrameError                   the bytes between gateway and engine are no frame of a known message
    └── EngineDiedError              the engine process ended; the request may be sent again

Each error has a stable `code` that travels in messages, so the gateway maps it to a status by one table.
"""

from __future__ import annotations

from typing import ClassVar


class EngineError(Exception):
    """Root of the engine's errors."""

    code: ClassVar[str] = "engine_error"
    retriable: ClassVar[bool] = False


class CheckpointError(EngineError):
    """A checkpoint is missing, incomplete or malformed."""

    code = "checkpoint_error"


class UnsupportedModelError(CheckpointError):
    """The checkpoint names an architecture, rope scaling or dtype that is not implemented."""

    code = "unsupported_model"


class DoesNotFitError(EngineError):
    """Weights or KV slots exceed the memory given; the message says by how much."""

    code = "does_not_fit"


class RequestError(EngineError):
    """One request can't be served as asked; `param` names the field at fault where there is one."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContextOverflowError(RequestError):
    """Prompt and answer are longer than the context."""

    code = "context_length_exceeded"


class TemplateError(RequestError):
    """The chat template refuses these messages."""

    code = "chat_template_error"


class FrameError(EngineError):
    """The bytes between gateway and engine are no frame of a known message, or a frame is over the limit."""

    code = "frame_error"


class BlockedError(EngineError):
    """A request's constraint, logit bias and min_tokens together leave no token to draw."""

    code = "no_token_left"


class NanLogitsError(EngineError):
    """The model gave NaN or infinite logits for a request."""

    code = "nan_logits"


class OverloadedError(EngineError):
    """Too many requests wait for admission."""

    code = "overloaded"
    retriable = True


class EngineDiedError(EngineError):
    """The engine process ended while the request ran; nothing was lost but this answer, so send it again."""

    code = "engine_died"
    retriable = True
