"""Random models and adapters of a few kilobytes, alike each time, for what needs a model and not a good one."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from core.engine.workers.adapter import PREFIX, Adapter

# Threads of so small products wait for each other longer than they compute.
torch.set_num_threads(1)
LAYERS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def llama(seed: int = 0, **settings) -> LlamaForCausalLM:
    """A Llama of two layers whose answers depend on everything before them."""
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
    """A LoRA adapter that changes what the model answers."""
    torch.manual_seed(seed)
    tensors = {}
    for name, module in model.named_modules():
        if name.endswith(LAYERS):
            tensors[f"{PREFIX}{name}.lora_A.weight"] = torch.randn(rank, module.in_features) * 0.2
            tensors[f"{PREFIX}{name}.lora_B.weight"] = torch.randn(module.out_features, rank) * 0.2
    return Adapter({"peft_type": "LORA", "r": rank, "lora_alpha": 8, **settings}, tensors)


@torch.no_grad()
def merged(model: torch.nn.Module, adapter: Adapter, scale: float) -> torch.nn.Module:
    """The model with W + scale · B·A in place of each W, worked out here."""
    for name, parameter in model.named_parameters():
        if name in adapter.pairs:
            a, b = adapter.pairs[name]
            parameter += scale * (b @ a)
    return model
