"""llama.cpp with Q8_0 weights, through its C API: peer_llama.py CHECKPOINT THREADS REPEAT SETTING.

Requests are put together as llama-server does it: a slot keeps the tokens of its conversation, a step takes the decode
token of every slot and fills the batch with prompts; slots share nothing.
"""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from figures import Figures, report, vocab_of
from safetensors_reader import read_tensors

SETTINGS: dict[str, dict[str, int]] = {
    "Q8_0, batches of 512": {"n_batch": 512, "n_ubatch": 512, "flash": 1},
    "Q8_0, batches of 2048": {"n_batch": 2048, "n_ubatch": 512, "flash": 1},
    "Q8_0, batches of 512, no flash attention": {"n_batch": 512, "n_ubatch": 512, "flash": 0},
}
SLOTS, SLOT_LEN = 33, 2048
NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def converted(checkpoint: Path) -> Path:
    """The checkpoint as GGUF, matrices in Q8_0."""
    file = checkpoint.parent / f"{checkpoint.name}-q8_0.gguf"
    if file.exists():
        return file
    config = json.loads((checkpoint / "config.json").read_text())
    model = json.loads((checkpoint / "tokenizer.json").read_text())["model"]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(model["vocab"]))
    writer.add_token_types([gguf.TokenType.NORMAL] * len(model["vocab"]))
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_eos_token_id(0)
    for name, tensor in read_tensors(checkpoint / "model.safetensors"):
        _add(writer, name.removesuffix(".weight").removeprefix("model."), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add(writer: gguf.GGUFWriter, name: str, tensor: np.ndarray) -> None:
    if name.startswith("layers."):
        _, layer, rest = name.split(".", 2)
        target = f"blk.{layer}.{NAMES[rest]}.weight"
    else:
        target = {"embed_tokens": "token_embd.weight", "norm": "output_norm.weight"}[name]
    if tensor.ndim == 1:
        writer.add_tensor(target, tensor)
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(target, gguf.quants.quantize(tensor, kind), raw_dtype=kind)


@dataclass
class Slot:
    """A sequence of the cache: tokens computed, tokens to compute, what is left to answer."""

    number: int
    chat: str = ""
    name: str = ""
    done: list[int] = field(default_factory=list)
    todo: list[int] = field(default_factory=list)
    left: int = 0


class Llama:
    """A context with a slot for each request."""

    def __init__(self, file: Path, threads: int, setting: dict[str, int]) -> None:
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(str(file).encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_seq_max = SLOTS * SLOT_LEN, SLOTS
        params.n_batch, params.n_ubatch = setting["n_batch"], setting["n_ubatch"]
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = setting["flash"]
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.n_batch = setting["n_batch"]
        self.batch = llama_cpp.llama_batch_init(self.n_batch, 0, 1)
        self.slots = [Slot(number) for number in range(SLOTS)]

    def add(self, name: str, chat: str, token_ids: list[int], max_tokens: int) -> None:
        """See `Peer`."""
        idle = [slot for slot in self.slots if not slot.left]
        slot = next((slot for slot in idle if slot.chat == chat), min(idle, key=lambda slot: len(slot.done)))
        same = 0
        while same < min(len(slot.done), len(token_ids) - 1) and slot.done[same] == token_ids[same]:
            same += 1
        llama_cpp.llama_memory_seq_rm(self.memory, slot.number, same, -1)
        slot.chat, slot.name, slot.left = chat, name, max_tokens
        slot.done, slot.todo = token_ids[:same], token_ids[same:]

    def step(self) -> list[tuple[str, list[int]]]:
        """See `Peer`."""
        asked: list[tuple[Slot, int]] = []
        count = 0
        # Decode tokens first: they are runs of one.
        for slot in sorted((slot for slot in self.slots if slot.left), key=lambda slot: len(slot.todo) > 1):
            take = min(len(slot.todo), self.n_batch - count)
            for at in range(take):
                self.batch.token[count] = slot.todo[at]
                self.batch.pos[count] = len(slot.done) + at
                self.batch.n_seq_id[count] = 1
                self.batch.seq_id[count][0] = slot.number
                self.batch.logits[count] = at == len(slot.todo) - 1
                count += 1
            if take and take == len(slot.todo):
                asked.append((slot, count - 1))
            slot.done += slot.todo[:take]
            del slot.todo[:take]
        self.batch.n_tokens = count
        if llama_cpp.llama_decode(self.context, self.batch):
            raise RuntimeError("llama_decode failed")
        return [(slot.name, [self._draw(slot, row)]) for slot, row in asked]

    def _draw(self, slot: Slot, row: int) -> int:
        pointer = llama_cpp.llama_get_logits_ith(self.context, row)
        logits = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self.vocab,))
        token = int(logits.argmax())
        slot.left -= 1
        if slot.left:
            slot.todo = [token]
        return token

    def has_work(self) -> bool:
        """See `Peer`."""
        return any(slot.left for slot in self.slots)


checkpoint, threads, repeat, name = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
peer = Llama(converted(checkpoint), threads, SETTINGS[name])
report("llama.cpp", name, llama_cpp.__version__, Figures(peer, vocab_of(checkpoint), repeat).all())
