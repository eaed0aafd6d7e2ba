"""Creates models of a few hundred kilobytes with architecture and chat template of real families and random weights.

    python -m benchmarks.tiny_models OUT NAME…

Each has everything that the real directory has: config, weights, a small tokenizer of the family's kind that begins a
text like the real one, special tokens, chat template. Those whose own code is unavailable name it like the real ones.
Runs in the engine's interpreter.
"""

import json
import shutil
import string
import sys
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from core.ground import garbage
from tests.core.models.families import FAMILIES

DIALOGUES = Path(__file__).parents[1] / "core" / "data" / "dialogues"
SHAPE = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Make:
    """One model: the family of its prompt, its class in transformers, and its tokenizer.

    `spaced`: a SentencePiece tokenizer, which puts a space before a text. `begins`: the tokens it puts before a text.
    `code`: the architecture and the module that its config names, which only exist next to the real model. `said`:
    replacements for words of its chat template.
    """

    family: str
    config: str = "LlamaConfig"
    spaced: bool = False
    begins: tuple[str, ...] = ()
    code: tuple[str, str] | None = None
    said: tuple[str, str] = ("", "")
    settings: dict[str, Any] = field(default_factory=dict)


MAKES = {
    "Llama-2-7b-chat": Make(family="llama 2", spaced=True, begins=("<s>",)),
    "Meta-Llama-3-8B-Instruct": Make(family="llama 3", begins=("<|begin_of_text|>",)),
    "Yi-1.5-6B-Chat": Make(family="yi"),
    "SmolLM2-135M-Instruct": Make(family="smollm2"),
    "TinyLlama-1.1B-Chat": Make(family="tinyllama", spaced=True, begins=("<s>",)),
    "vicuna-7b": Make(family="vicuna", spaced=True, begins=("<s>",)),
    "Mistral-7B-Instruct": Make(family="mistral", config="MistralConfig", spaced=True, begins=("<s>",)),
    "Qwen2-0.5B-Instruct": Make(
        family="qwen2.5", config="Qwen2Config", said=("You are Qwen, created by Alibaba Cloud. You", "You")
    ),
    "Qwen2.5-0.5B-Instruct": Make(family="qwen2.5", config="Qwen2Config"),
    "Qwen2.5-0.5B": Make(family="qwen2.5 base", config="Qwen2Config"),
    "DeepSeek-R1-Distill-Qwen-1.5B": Make(
        family="deepseek r1", config="Qwen2Config", begins=("<｜begin▁of▁sentence｜>",)
    ),
    "DeepSeek-R1-Distill-Llama-8B": Make(family="deepseek r1", begins=("<｜begin▁of▁sentence｜>",)),
    "gemma-2-2b-it": Make(family="gemma 2", config="Gemma2Config", begins=("<bos>",), settings={"head_dim": 16}),
    "Phi-3-mini-4k-instruct": Make(family="phi 3", config="Phi3Config", spaced=True),
    "glm-4-9b-chat-hf": Make(
        family="glm 4", config="GlmConfig", begins=("[gMASK]", "<sop>"), settings={"head_dim": 16}
    ),
    "internlm2-chat-1_8b": Make(family="internlm2", config="InternLM2Config", begins=("<s>",)),
    "internlm2_5-1_8b-chat": Make(family="internlm2", config="InternLM2Config", begins=("<s>",)),
    "MiniCPM-2B": Make(family="minicpm", spaced=True, begins=("<s>",), code=("MiniCPMForCausalLM", "minicpm")),
    "Baichuan2-7B-Chat": Make(family="baichuan 2", spaced=True, code=("BaichuanForCausalLM", "baichuan")),
}


def tokenizer_of(make: Make) -> Any:
    """Return a tokenizer trained on the built-in dialogues."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    family = FAMILIES[make.family]
    special = list(dict.fromkeys(filter(None, ("<unk>", family.bos, family.eos, *family.tokens, *make.begins))))
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    if make.spaced:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
        # The dialogues are read line by line, but templates contain newlines.
        alphabet = list(string.printable)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = [
        line for file in sorted(DIALOGUES.glob("*.json")) for line in file.read_text(encoding="utf-8").splitlines()
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=2400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    if make.begins:
        begins = " ".join(make.begins)
        ids = [(token, tokenizer.token_to_id(token)) for token in make.begins]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begins} $A", special_tokens=ids)
    return tokenizer


@cache
def modeling() -> tuple[Path, Any]:
    """Locate InternLM2's modeling code in the installed XTuner, without importing it; return files and module."""
    from core.engine.workers.demo_model import import_modeling

    code = Path(find_spec("xtuner").submodule_search_locations[0], "_lite", "modelings", "internlm2")
    return code, import_modeling(code)


def model_of(make: Make, out: Path, tokens: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model with random weights, and additional entries of its config."""
    import torch
    import transformers

    torch.manual_seed(0)
    if make.config != "InternLM2Config":
        config = getattr(transformers, make.config)(**{**SHAPE, **make.settings, **tokens})
        return transformers.AutoModelForCausalLM.from_config(config, torch_dtype=torch.float32), {}
    code, internlm2 = modeling()
    for name in ("configuration_internlm2.py", "modeling_internlm2.py"):
        shutil.copyfile(code / name, out / name)
    config = internlm2.configuration_internlm2.InternLM2Config(**SHAPE, **tokens, bias=False)
    named = {
        "AutoConfig": "configuration_internlm2.InternLM2Config",
        "AutoModel": "modeling_internlm2.InternLM2Model",
        "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
    }
    model = internlm2.modeling_internlm2.InternLM2ForCausalLM(config)
    return model, {"auto_map": named, "architectures": ["InternLM2ForCausalLM"], "torch_dtype": "float32"}


def build(name: str, out: Path) -> None:
    """Write the model's directory to `out`."""
    from safetensors.torch import save_file

    make, family = MAKES[name], FAMILIES[MAKES[name].family]
    out.mkdir(parents=True)
    tokenizer = tokenizer_of(make)
    tokenizer.save(str(out / "tokenizer.json"))
    ids = {"eos_token_id": tokenizer.token_to_id(family.eos), "pad_token_id": tokenizer.token_to_id(family.eos)}
    if family.bos:
        ids["bos_token_id"] = tokenizer.token_to_id(family.bos)
    model, more = model_of(make, out, {"vocab_size": tokenizer.get_vocab_size(), **ids})
    # As in real models, a head tied to the embedding is not stored.
    tied = model._tied_weights_keys if getattr(model.config, "tie_word_embeddings", False) else ()
    weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items() if key not in tied}
    save_file(weights, str(out / "model.safetensors"), metadata={"format": "pt"})
    config = {**model.config.to_dict(), "architectures": [type(model).__name__], "torch_dtype": "float32", **more}
    if make.code:
        architecture, module = make.code
        config |= {
            "architectures": [architecture],
            "model_type": module,
            "auto_map": {"AutoModelForCausalLM": f"modeling_{module}.{architecture}"},
        }
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": family.eos, "unk_token": "<unk>", "pad_token": family.eos,
        "chat_template": family.template.replace(*make.said) if any(make.said) else family.template, "clean_up_tokenization_spaces": False, "model_max_length": 2048,
        **({"bos_token": family.bos} if family.bos else {}),
    }  # fmt: skip
    # As in real models, with sampling and a repetition penalty by default.
    drawn = {**ids, "do_sample": True, "temperature": 0.7, "top_p": 0.8, "repetition_penalty": 1.1}
    for file, content in (("config", config), ("tokenizer_config", said), ("generation_config", drawn)):
        (out / f"{file}.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    garbage.wait()
    for wanted in sys.argv[2:]:
        build(wanted, Path(sys.argv[1]) / wanted)
        print(wanted, flush=True)
