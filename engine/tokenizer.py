"""The tokenizer of a checkpoint, and the bytes of each of its tokens. Imports no torch.

Text from users is encoded *plain*: what it spells of markers stays text (see `marker`). Only what a chat template
writes becomes their tokens (see `chat_template`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Encoder

from espalier.engine.checkpoint import read_json
from espalier.engine.errors import CheckpointError
from espalier.engine.marker import Markers, is_marker, without_own
from espalier.engine.token_bytes import token_spelling
from espalier.grammar import Vocabulary


@dataclass(frozen=True, slots=True)
class Pieces:
    """A plain text in tokens: their ids, the number of bytes up to each one's end, the pre-token each belongs to."""

    ids: list[int]
    ends: list[int]
    words: list[int]


_DEFAULTS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}


class Tokenizer:
    """Encodes and decodes; immutable, so safe to use from several threads.

    `token_bytes[id]` is what a token means as bytes, None for special tokens, gaps and `end_token_ids`, which end an
    answer. `named_tokens` are the special tokens that chat templates know by name, as {"bos_token": "<s>"}.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        *,
        end_token_ids: tuple[int, ...] = (),
        named_tokens: dict[str, str] | None = None,
    ) -> None:
        tokens = [_DEFAULTS | token for token in spec.get("added_tokens") or () if token["content"]]
        spec = spec | {"added_tokens": tokens}
        self.markers = Markers(token["content"] for token in tokens if is_marker(token))
        self._encoder = _encoder(self.markers.renamed(spec))
        self.end_token_ids, self.named_tokens = end_token_ids, named_tokens or {}
        self.added_tokens = {token["content"]: self._id(token["content"]) for token in tokens}
        self.special_ids = frozenset(self.added_tokens[token["content"]] for token in tokens if token["special"])
        self.vocab_size = max(self._encoder.get_vocab().values(), default=-1) + 1
        self._all_bytes = self._bytes(spec)
        # What ends an answer is no text in one, whatever the files say of it.
        plain = self.special_ids.union(end_token_ids)
        self.token_bytes = [None if i in plain else data for i, data in enumerate(self._all_bytes)]

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Read tokenizer.json and what the checkpoint says of special and end tokens. Raises CheckpointError."""
        if not (folder / "tokenizer.json").exists():
            raise CheckpointError(
                "the checkpoint has no tokenizer.json; write one with "
                "transformers' AutoTokenizer.from_pretrained(...).save_pretrained(...)"
            )
        spec, config = read_json(folder / "tokenizer.json"), _optional(folder / "tokenizer_config.json")
        try:
            named = _named(_optional(folder / "special_tokens_map.json") | config)
            spec = spec | {"added_tokens": _added(spec, config, named)}
            return cls(spec, end_token_ids=_ends(folder, spec, named), named_tokens=named)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"tokenizer.json can't be read: {type(error).__name__} {error}") from error

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What grammars are compiled over; one object, so that they share what belongs to it."""
        return Vocabulary(self.token_bytes)

    @property
    def bos_token(self) -> str | None:
        """The spelling of the token that begins a text, if the checkpoint names one."""
        return self.named_tokens.get("bos_token")

    def encode(self, text: str, *, add_special_tokens: bool = False, parse_special: bool = False) -> list[int]:
        """Token ids; `parse_special` reads the markers that the text spells, `add_special_tokens` frames it.

        What is no Unicode (halves of surrogate pairs) counts as U+FFFD.
        """
        text = without_own(text)
        return self.encode_aliased(self.markers.meant(text) if parse_special else text, add_special_tokens)

    def encode_aliased(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token ids of a text in which markers that are meant stand as their aliases (`markers.aliases`)."""
        ids: list[int] = self._encoder.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def pieces(self, text: str) -> Pieces | None:
        """A text plain in tokens with its pre-tokens; None if the tokens' bytes are not those of the text.

        (Normalizers and prefixes change some texts: nothing can be said of them byte by byte.)
        """
        encoded = self._encoder.encode(text, add_special_tokens=False)
        parts = [self.token_bytes[token_id] for token_id in encoded.ids]
        words = [word for word in encoded.word_ids if word is not None]
        if None in parts or len(words) < len(parts) or b"".join(part or b"" for part in parts) != text.encode():
            return None
        return Pieces(encoded.ids, list(accumulate(len(part or b"") for part in parts)), words)

    def decode(self, token_ids: list[int], *, skip_special: bool = True) -> str:
        """Text of token ids; bytes that are no UTF-8 become U+FFFD."""
        known = self.text_bytes(skip_special=skip_special)
        return b"".join(known[i] or b"" for i in token_ids if 0 <= i < len(known)).decode("utf-8", "replace")

    def text_bytes(self, *, skip_special: bool) -> list[bytes | None]:
        """Bytes of each token as text; special tokens have none, or their spelling."""
        return self.token_bytes if skip_special else self._all_bytes

    def token_text(self, token_id: int) -> str:
        """A token on its own, for people."""
        return self._data(token_id).decode("utf-8", "replace")

    def spelling(self, token_id: int, logprob: float) -> tuple[str, float, list[int]]:
        """A token's text, the log-probability passed through, and its bytes: as APIs list them."""
        data = self._data(token_id)
        return data.decode("utf-8", "replace"), logprob, list(data)

    def _data(self, token_id: int) -> bytes:
        return (self._all_bytes[token_id] if 0 <= token_id < len(self._all_bytes) else None) or b""

    def _id(self, content: str) -> int:
        token_id: int | None = self._encoder.token_to_id(self.markers.aliases.get(content, content))
        if token_id is None:
            raise CheckpointError(f"tokenizer.json: the added token {content!r} has no id")
        return token_id

    def _bytes(self, spec: dict[str, Any]) -> list[bytes | None]:
        to_bytes = token_spelling(spec)
        spelled = {alias: content for content, alias in self.markers.aliases.items()}
        table: list[bytes | None] = [None] * self.vocab_size
        for token, token_id in self._encoder.get_vocab().items():
            content = spelled.get(token, token)
            table[token_id] = content.encode() if content in self.added_tokens else to_bytes(token)
        return table


def _encoder(spec: dict[str, Any]) -> Encoder:
    try:
        encoder = Encoder.from_str(json.dumps(spec))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"tokenizer.json can't be read: {error}") from error
    encoder.no_padding()
    encoder.no_truncation()
    return encoder


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _named(config: dict[str, Any]) -> dict[str, str]:
    """Special tokens by name, however the files write them."""
    found: dict[str, str] = {}
    for name, token in config.items():
        content = token.get("content") if isinstance(token, dict) else token
        if name.endswith("_token") and isinstance(content, str):
            found[name] = content
    return found


def _added(spec: dict[str, Any], config: dict[str, Any], named: dict[str, str]) -> list[dict[str, Any]]:
    """The added tokens of tokenizer.json, those that only tokenizer_config.json has, and which are special."""
    tokens = list(spec.get("added_tokens") or ())
    known = {token["content"] for token in tokens}
    # The ids decide the order in which further tokens are numbered.
    further = sorted((int(token_id), token) for token_id, token in (config.get("added_tokens_decoder") or {}).items())
    tokens += [{"id": token_id, **token} for token_id, token in further if token["content"] not in known]
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or ()
    listed = extra.values() if isinstance(extra, dict) else extra
    special = {*named.values(), *(t["content"] if isinstance(t, dict) else t for t in listed)}
    return [token | {"special": True} if token["content"] in special else token for token in tokens]


def _ends(folder: Path, spec: dict[str, Any], named: dict[str, str]) -> tuple[int, ...]:
    """End tokens by generation_config.json, config.json and the tokenizer's own, without repeats."""
    found: list[Any] = []
    for file in ("generation_config.json", "config.json"):
        value = _optional(folder / file).get("eos_token_id")
        found += value if isinstance(value, list) else [] if value is None else [value]
    found += [token["id"] for token in spec["added_tokens"] if token["content"] == named.get("eos_token")]
    if not all(isinstance(token_id, int) and token_id >= 0 for token_id in found):
        raise CheckpointError(f"eos_token_id: {found} are no token ids")
    return tuple(dict.fromkeys(found))
