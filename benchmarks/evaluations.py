"""The cost of evaluations during training: XTuner's way, one question at a time, against all in one batch.

    python -m benchmarks.evaluations MODEL      MODEL is a directory; the goal is set for SmolLM2-135M-Instruct

The model has an untrained adapter as in training, so that both ways read the same weights and give the same answers.
The evaluations are those of a run of 29 iterations with the recipe `fast`: one before it, six on the way, and XTuner's
second one at the end, which repeats the last questions. Reports ratios of wall-clock time, interleaved, and CPU
seconds.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.measure import interleaved, say, write
from core.data.assistant import ENGLISH_QUESTIONS

BEFORE, MOST, ON_THE_WAY = 50, 64, 6


def loaded(directory: Path) -> Any:
    """Return the model as XTuner trains it, with an adapter, and its tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    plain = AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float32)
    llm = get_peft_model(plain, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    return llm.eval(), tokenizer


def held(llm: Any) -> Any:
    """Wrap the language model as XTuner's model does."""
    import torch

    class Trained(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.llm = llm

        def activation_checkpointing_disable(self) -> None:
            """Does nothing: there is no checkpointing."""

        activation_checkpointing_enable = activation_checkpointing_disable

    return SimpleNamespace(model=Trained(), optim_wrapper=None, world_size=1)


def counted(work: Callable[[], object], into: list[float]) -> Callable[[], None]:
    """Return `work` wrapped so that it appends its CPU seconds to a list."""

    def run() -> None:
        began = time.process_time()
        work()
        into.append(time.process_time() - began)

    return run


def main() -> None:
    """Run both ways, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    import torch

    from core.engine.workers.asking import Asking
    from core.engine.workers.beginning import begun

    llm, tokenizer = loaded(options.model)
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
        )
        for question in ENGLISH_QUESTIONS
    ]
    asking = Asking(held(llm), tokenizer, [])

    @torch.no_grad()
    def alone(most: int) -> None:
        for prompt in prompts:
            ids = torch.tensor([begun(tokenizer, prompt)])
            # The sampling of XTuner's hook.
            how = {"do_sample": True, "temperature": 0.1, "top_k": 40, "top_p": 0.75}
            llm.generate(input_ids=ids, max_new_tokens=most, pad_token_id=tokenizer.eos_token_id, **how)

    def xtuner() -> None:
        for most in (BEFORE, *[MOST] * (ON_THE_WAY + 1)):
            alone(most)

    def ours() -> None:
        for most in (BEFORE, *[MOST] * ON_THE_WAY):
            asking.ask(prompts, most)

    def known() -> None:
        for most in [MOST] * ON_THE_WAY:
            asking.ask(prompts, most)

    cpu: dict[str, list[float]] = {"xtuner": [], "ours": [], "known": []}
    say("a run's evaluations")
    found = interleaved(counted(xtuner, cpu["xtuner"]), counted(ours, cpu["ours"]), options.rounds)
    say("the same where the base was asked before")
    again = interleaved(counted(ours, []), counted(known, cpu["known"]), options.rounds)
    write(
        "evaluations",
        {
            "model": options.model.name,
            "questions": len(prompts),
            "xtuner_seconds": found["seconds"]["one"],
            "ours_seconds": found["seconds"]["other"],
            "ours_over_xtuner": found["ratio"],
            "base_known_over_ours": again["ratio"],
            "cpu_seconds": cpu,
        },
    )


if __name__ == "__main__":
    main()
