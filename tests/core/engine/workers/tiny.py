"""Random models and adapters of a few kilobytes, always the same, for tests that need a model but not a good one."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from core.engine.workers.adapter import PREFIX, Adapter

# For such small products, threads wait for each other longer than they compute.
torch.set_num_threads(1)
LAYERS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def llama(seed: int = 0, **settings) -> LlamaForCausalLM:
    """Return a Llama with two layers whose answers depend on everything before them."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        **{
            "vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
            "initializer_range": 0.3, "bos_token_id": 1, "eos_token_id": 2, "attn_implementation": "eager", **settings,
        }
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def lora(model: torch.nn.Module, seed: int = 1, rank: int = 4, **settings) -> Adapter:
    """Return a LoRA adapter that changes the model's answers."""
    torch.manual_seed(seed)
    tensors = {}
    for name, module in model.named_modules():
        if name.endswith(LAYERS):
            tensors[f"{PREFIX}{name}.lora_A.weight"] = torch.randn(rank, module.in_features) * 0.2
            tensors[f"{PREFIX}{name}.lora_B.weight"] = torch.randn(module.out_features, rank) * 0.2
    return Adapter({"peft_type": "LORA", "r": rank, "lora_alpha": 8, **settings}, tensors)


@torch.no_grad()
def merged(model: torch.nn.Module, adapter: Adapter, scale: float) -> torch.nn.Module:
    """Replace each W of the model by W + scale · B·A, computed here."""
    for name, parameter in model.named_parameters():
        if name in adapter.pairs:
            a, b = adapter.pairs[name]
            parameter += scale * (b @ a)
    return model


def generate(model: torch.nn.Module, ids: list[int], most: int) -> list[int]:
    """The `most` tokens that transformers' own generation gives after a prompt."""
    out = model.generate(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=most,
        do_sample=False, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return out[0, len(ids) :].tolist()
