"""Build the demo model: a tiny but real InternLM2, pre-trained on the spot on the built-in dialogues.

Run with the engine's interpreter: `python -m core.engine.workers.demo_model --dialogues DIR --out DIR`. DIR holds
identity.json, general.json and spelling.json. The model knows InternLM's identity, a few hundred short dialogues and
the characters of names, so that fine-tuning has something to steer. It is not a language model for anything else. This
module does not fine-tune.

Uses the standard library, torch, transformers and tokenizers only. The modeling code is copied from the installed
xtuner, which is located but never imported (that takes half a minute).
"""

import argparse
import importlib.util
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.engine.workers.demo_text import (
    BOS,
    CHAT_SPECIAL,
    EOS,
    IM_END,
    Dialogues,
    Row,
    as_string,
    build_tokenizer,
    encode,
)
from core.ground import garbage
from core.ground.progress import write_progress

STEPS = 1350
BATCH = 16
LEARNING_RATE = 2e-3
WARMUP_STEPS = 30
SHAPE = {
    "hidden_size": 192,
    "intermediate_size": 576,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
README = """\
# InternLM2 demo / InternLM2 演示模型

这是一个极小的 InternLM2 模型，由 XTuner Studio 在本机用自带的对话现场训练而成。
它只会自我介绍、回答几百个简单问题，微调可以教会它任何昵称：用来演示微调的完整流程，仅此而已。
它的权重与上海人工智能实验室发布的 InternLM2 无关；建模代码来自已安装的 XTuner（Apache-2.0）。

This is a tiny InternLM2, trained on this machine by XTuner Studio from its own dialogues.
It introduces itself and answers a few hundred simple questions, and fine-tuning teaches it any nickname:
enough to show fine-tuning from end to end, and nothing more. Its weights have nothing to do with the InternLM2
that Shanghai AI Laboratory released; the modeling code is the installed XTuner's (Apache-2.0).
"""


class Progress:
    """Reports the progress of the build, within a phase at most twice a second."""

    def __init__(self) -> None:
        self.note, self.written = "", 0.0

    def __call__(self, done: float, note: str, eta_s: float | None = None) -> None:
        """Report `done` (0 to 1), the phase `note` and the seconds left if known."""
        now = time.monotonic()
        if note == self.note and done < 1 and now - self.written < 0.5:
            return
        self.note, self.written = note, now
        write_progress(done=round(done, 4), note=note, eta_s=eta_s)


def batches(rows: list[Row], tokenizer: Any, rng: random.Random) -> Iterator[tuple[Any, Any]]:
    """Yield batches of `BATCH` rows: inputs and targets, both (rows, longest); targets are -100 outside the answers.

    Rows of similar length share a batch, which halves the padding. Padding needs no attention mask: it is at the end,
    where causal attention hides it from every answer.
    """
    import torch

    pool = 16 * BATCH
    for start in range(0, len(rows), pool):
        encoded = [encode(row, tokenizer) for row in rows[start : start + pool]]
        encoded.sort(key=lambda pair: len(pair[0]))
        groups = [encoded[i : i + BATCH] for i in range(0, len(encoded), BATCH)]
        rng.shuffle(groups)
        for group in groups:
            longest = len(group[-1][0])
            inputs = [ids + [EOS] * (longest - len(ids)) for ids, _ in group]
            targets = [ids + [-100] * (longest - len(ids)) for _, ids in group]
            yield torch.tensor(inputs), torch.tensor(targets)


def import_modeling(folder: Path) -> Any:
    """Import the InternLM2 package at `folder` without its parent package."""
    spec = importlib.util.spec_from_file_location(
        "internlm2", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["internlm2"] = module
    spec.loader.exec_module(module)
    return module


def train(model: Any, tokenizer: Any, dialogues: Dialogues, steps: int, report: Progress) -> float:
    """Pre-train `model` in place for `steps` updates; return the mean loss of the last tenth of them."""
    import torch
    from torch.nn.functional import cross_entropy

    # Tied during pre-training (copying a name's token goes through one matrix, which takes fewer steps to learn),
    # untied afterwards: LoRA on the head must not change the embedding.
    model.output.weight = model.model.tok_embeddings.weight
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / WARMUP_STEPS) * (1 - step / steps),
    )
    losses: list[float] = []
    started = time.monotonic()
    model.train()
    for inputs, targets in batches(dialogues.rows(steps * BATCH), tokenizer, dialogues.rng):
        hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
        taught = targets != -100
        loss = cross_entropy(model.output(hidden[taught]), targets[taught])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        done = len(losses) / steps
        left = (time.monotonic() - started) * (1 - done) / done
        report(0.1 + 0.88 * done, "train", round(left, 1))
    model.output.weight = torch.nn.Parameter(model.output.weight.detach().clone())
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


def save(model: Any, tokenizer: Any, code: Path, out: Path, facts: dict[str, Any]) -> None:
    """Write a complete model directory at `out`, which exists and is empty; `code` holds the modeling files."""
    from safetensors.torch import save_file

    state = json.loads(tokenizer.to_str())
    state["model"]["merges"] = [as_string(merge) for merge in state["model"]["merges"]]
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    special["additional_special_tokens"] = CHAT_SPECIAL
    contents = {
        "config.json": model.config.to_dict(),
        "generation_config.json": {
            "bos_token_id": BOS,
            "eos_token_id": [EOS, IM_END],
            "pad_token_id": EOS,
            "do_sample": False,
        },
        "tokenizer.json": state,
        "special_tokens_map.json": special,
        "tokenizer_config.json": {
            **special,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": CHAT_TEMPLATE,
            "clean_up_tokenization_spaces": False,
            "model_max_length": model.config.max_position_embeddings,
        },
        "demo_model.json": facts,
    }
    for name, content in contents.items():
        (out / name).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(README, encoding="utf-8")
    for name in ("configuration_internlm2.py", "modeling_internlm2.py"):
        shutil.copyfile(code / name, out / name)
    save_file(model.state_dict(), out / "model.safetensors", metadata={"format": "pt"})


def build(dialogues: Dialogues, out: Path, seed: int, steps: int, report: Progress) -> None:
    """Build the model in the empty directory `out`. Raises FileNotFoundError without XTuner's modeling code."""
    started = time.monotonic()
    report(0.0, "import")
    found = importlib.util.find_spec("xtuner")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("xtuner is not installed for this interpreter")
    code = Path(found.submodule_search_locations[0], "_lite", "modelings", "internlm2")
    if not code.is_dir():
        raise FileNotFoundError(f"this xtuner has no InternLM2 modeling code: {code}")
    import torch

    internlm2 = import_modeling(code)
    garbage.resume()
    report(0.08, "tokenizer")
    tokenizer = build_tokenizer(dialogues)
    torch.manual_seed(seed)
    config = internlm2.configuration_internlm2.InternLM2Config(
        vocab_size=tokenizer.get_vocab_size(),
        bias=False,
        pad_token_id=EOS,
        architectures=["InternLM2ForCausalLM"],
        torch_dtype="float32",
        auto_map={
            "AutoConfig": "configuration_internlm2.InternLM2Config",
            "AutoModel": "modeling_internlm2.InternLM2Model",
            "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
        },
        **SHAPE,
    )
    model = internlm2.modeling_internlm2.InternLM2ForCausalLM(config)
    loss = train(model, tokenizer, dialogues, steps, report)
    report(0.99, "save")
    facts = {
        "seed": seed,
        "steps": steps,
        "batch_size": BATCH,
        "dialogues": len(dialogues.identity) + len(dialogues.general),
        "dialogues_sha256": dialogues.sha256,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "final_loss": round(loss, 6),
        "seconds": round(time.monotonic() - started, 1),
    }
    save(model, tokenizer, code, out, facts)


def main() -> int:
    """Build the model unless the directory is complete. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Build the demo model.")
    parser.add_argument("--dialogues", type=Path, required=True, help="folder of the dialogue files")
    parser.add_argument("--out", type=Path, required=True, help="model directory to create")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of the pre-training")
    args = parser.parse_args()
    if (args.out / "model.safetensors").exists():
        print(f"already complete: {args.out}")
        return 0
    partial = args.out.with_name(args.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    report = Progress()
    build(Dialogues(args.dialogues, args.seed), partial, args.seed, args.steps, report)
    os.replace(partial, args.out)
    report(1.0, "save", 0.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
