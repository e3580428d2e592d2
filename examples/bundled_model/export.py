"""Writes the trained weights as a Hugging Face checkpoint beside the tokenizer: bfloat16, Qwen3's names.

python examples/bundled_model/export.py --folder /some/folder --out engine/bundled
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from shutil import copyfile

import torch
from network import Network, Shape
from rendering import BUNDLED
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

BESIDE = ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")
"""Files that a checkpoint has beside the weights and their configuration."""


def load_network(path: Path) -> tuple[Network, int]:
    """The network of a `training.pt`, and how many tokens it has seen."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    network = Network(Shape())
    network.load_state_dict(state["network"])
    return network, int(state["tokens"])


def load_checkpoint(folder: Path) -> Network:
    """The network of an exported checkpoint, in float32."""
    config = json.loads((folder / "config.json").read_text())
    network = Network(Shape(**{name: config[name] for name in Shape.__dataclass_fields__}))
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()})
    return network


def checkpoint_tensors(network: Network) -> dict[str, Tensor]:
    """The state dict in bfloat16; the output matrix is the embedding and is not written twice."""
    return {name: tensor.to("cpu", torch.bfloat16).contiguous() for name, tensor in network.state_dict().items()}


def export(network: Network, out: Path, tokenizer_file: Path = BUNDLED / "tokenizer.json") -> None:
    """Write a whole checkpoint into `out`, with this tokenizer and the shipped template."""
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    config = network.shape.to_hf([tokenizer.token_to_id("<|im_end|>"), tokenizer.token_to_id("<|endoftext|>")])
    save_file(checkpoint_tensors(network), out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    (out / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in BESIDE:
        source = tokenizer_file if name == "tokenizer.json" else BUNDLED / name
        if source.resolve() != (out / name).resolve():
            copyfile(source, out / name)


def main() -> None:
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where train.py wrote training.pt")
    parser.add_argument("--out", type=Path, default=BUNDLED)
    given = parser.parse_args()
    network, tokens = load_network(given.folder / "training.pt")
    export(network, given.out)
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {tokens:,} tokens seen -> {given.out}")


if __name__ == "__main__":
    main()
