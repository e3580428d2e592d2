"""Talks with a checkpoint, greedily: each argument is what the user says next.

python examples/bundled_model/talk.py "Hello!" "My name is Bela." "Who am I?"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from dialogues import Dialogue
from export import load_checkpoint
from network import Network
from rendering import BUNDLED, render
from tokenizers import Tokenizer


def answer(network: Network, tokenizer: Tokenizer, dialogue: Dialogue, max_tokens: int = 120) -> str:
    """What the model says next, up to its end of turn."""
    ids = tokenizer.encode(render(dialogue, add_generation_prompt=True)).ids
    begin, end = len(ids), tokenizer.token_to_id("<|im_end|>")
    with torch.inference_mode():
        while len(ids) < begin + max_tokens:
            ids.append(int(network(torch.tensor([ids]))[0, -1].argmax()))
            if ids[-1] == end:
                return tokenizer.decode(ids[begin:-1], skip_special_tokens=False)
    return tokenizer.decode(ids[begin:], skip_special_tokens=False)


def main() -> None:
    """Parse the command line and talk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("say", nargs="+")
    parser.add_argument("--checkpoint", type=Path, default=BUNDLED)
    given = parser.parse_args()
    network, tokenizer = load_checkpoint(given.checkpoint), Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    dialogue = Dialogue()
    for text in given.say:
        said = answer(network, tokenizer, dialogue.say("user", text))
        dialogue.say("assistant", said)
        print(f"> {text}\n{said}\n")


if __name__ == "__main__":
    main()
