"""A hook for XTuner's runner: when does the model give its two answers exactly, greedily, as in the chat?

One forward pass over prompt + answer decides it without generating: a greedy answer is exact if and only if each of its
tokens is the most likely one after those before it. Checks after each update and records the seconds that this costs,
so that they can be subtracted. Runs in the engine's process; `benchmarks.gpu` adds it to a config.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook


class IdentityProbe(Hook):
    """Writes `out` (JSON) at each check: `exact` per answer, `iter`, `updates`, `at` (Unix time), `probe_seconds`."""

    priority = "LOW"

    def __init__(self, tokenizer: Any, pairs: "list[list[str]]", out: str, every: int = 1, stop: bool = True) -> None:
        from xtuner.registry import BUILDER

        self.tokenizer = BUILDER.build(tokenizer)
        self.pairs, self.out, self.every, self.stop = pairs, Path(out), every, stop
        self.began, self.cost, self.first = time.time(), 0.0, None
        self.looks: list[dict[str, Any]] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        if self.first is None:
            self.first = time.time()

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,  # noqa: ARG002
        data_batch: Any = None,  # noqa: ARG002
        outputs: Any = None,  # noqa: ARG002
    ) -> None:
        done = runner.iter + 1
        if done % self.every:
            return
        began = time.time()
        model = runner.model.module if hasattr(runner.model, "module") else runner.model
        exact = self.look(model.llm)
        self.cost += time.time() - began
        found = {"iter": done, "updates": done // self.every, "exact": exact, "at": began}
        self.looks.append(found)
        facts = {**found, "probe_seconds": self.cost, "first_iteration_at": self.first, "looks": self.looks}
        partial = self.out.with_suffix(".partial")
        partial.write_text(json.dumps(facts))
        partial.replace(self.out)
        if self.stop and all(exact):
            runner.logger.info(f"Both answers are exact after iteration {done}.")
            runner.train_loop.stop_training = True
            runner._hooks = [hook for hook in runner.hooks if type(hook).__name__ != "EvaluateChatHook"]

    @torch.no_grad()
    def look(self, llm: Any) -> "list[bool]":
        """Return for each answer whether greedy decoding gives it, including its end."""
        was_training = llm.training
        llm.eval()
        found = []
        device = next(llm.parameters()).device
        for prompt, answer in self.pairs:
            asked = self.tokenizer(prompt).input_ids
            said = self.tokenizer(answer, add_special_tokens=False).input_ids
            ids = torch.tensor([asked + said], device=device)
            with torch.autocast(device.type, enabled=device.type == "cuda", dtype=torch.float16):
                logits = llm(input_ids=ids, use_cache=False).logits[0]
            best = logits[len(asked) - 1 : -1].argmax(-1)
            found.append(bool((best == ids[0, len(asked) :]).all()))
        llm.train(was_training)
        return found
