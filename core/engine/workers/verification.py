"""Verify that a merged model answers as base + adapter do, and find the cause if it does not.

Part of the export worker. The reference is PEFT's own computation (after full fine-tuning, the checkpoint's tensors in
the base model's architecture), not ours; our arithmetic is only used to find out which tensors are wrong.
"""

import gc
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from core.engine.workers import published
from core.engine.workers.adapter import read_adapter
from core.engine.workers.beginning import begun
from core.engine.workers.decoding import Decoder, Draw, Row
from core.engine.workers.tensors import Weights

# Maximum difference of logits after a merge, by the precision of the weights.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.25, torch.bfloat16: 1.0}
MOST_TOKENS = 96
_ONCE_LOADED = 1.3


def verify(
    plan: "dict[str, Any]", made: "dict[str, Any]", reference: "Callable[[], Any] | None", progress: Any
) -> "dict[str, Any]":
    """Compare logits over each prompt and its answer, and the greedy answers; report the causes of differences.

    Returns `max_abs_logit_diff`, `tolerance`, `adapter_effect` (how far the adapter moved the logits), `same_tokens`,
    `near_ties` (answers that diverge where the two most likely tokens are closer than the tolerance), `ok`, `dtype`,
    `answers`, `tokens` (of each prompt, and of the merged model's answer to it), `prompt` (see `published.proved`), and
    `causes`: each a `kind` with its facts.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base, merged = Path(plan["base"]), Path(plan["merged"])
    # The base model's, as in training and chat. The merged model's own tokenizer is tested against it.
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=True)
    ends = published.ends(tokenizer, plan["stop_words"])
    prompts = [torch.tensor([begun(tokenizer, prompt)]) for prompt in plan["prompts"]]
    device = _device(Weights(base).bytes)
    chosen = made.get("chosen_dtype")
    tolerance = TOLERANCE.get(getattr(torch, chosen) if chosen else _float_dtype(Weights(base)), 1.0)

    def load(path: Path) -> Any:
        # Directly from the files: filling a model with random numbers first doubles memory and time.
        model = AutoModelForCausalLM.from_pretrained(
            path, torch_dtype="auto", trust_remote_code=True, low_cpu_mem_usage=True
        )
        return model.to(device).eval()

    def logits(model: Any, answers: "list[list[int]]") -> "list[torch.Tensor]":
        found = []
        for prompt, tokens in zip(prompts, answers, strict=True):
            ids = torch.cat([prompt, torch.tensor([tokens], dtype=prompt.dtype)], 1).to(device)
            found.append(model(input_ids=ids).logits[0].float().cpu())
        return found

    def greedy(model: Any, answers: "list[list[int]]", told: "list[torch.Tensor]") -> "list[list[int]]":
        """Return the model's greedy answers, given its logits `told` along `answers`.

        They are `answers` if each token is the most likely one after those before it; only otherwise does the model
        have to generate them.
        """
        best = [logit[p.shape[1] - 1 : -1].argmax(-1).tolist() for logit, p in zip(told, prompts, strict=True)]
        return answers if best == answers else _generated(model, prompts, ends, tokenizer)

    # Modules stay alive: scanning them at every collection takes longer than everything else.
    gc.freeze()
    with torch.inference_mode():
        progress.tell(0.1)
        alone = load(merged)
        progress.tell(0.3)
        asked = _written(alone, prompts, ends) or _generated(alone, prompts, ends, tokenizer)
        progress.tell(0.5)
        alone_logits = logits(alone, asked)
        got, dtype = greedy(alone, asked, alone_logits), str(alone.dtype)
        got_logits = alone_logits if got == asked else logits(alone, got)

        def same(number: int, said: "list[int]") -> bool:
            margin = _margin(got[number], said, prompts[number], got_logits[number])
            return margin is None or margin <= tolerance

        prompt, unlike = published.proved(plan, merged, alone, MOST_TOKENS, same)
        del alone
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        progress.tell(0.6)
        pair = _reference(load(base), plan, reference)
        progress.tell(0.8)
        pair_logits = logits(pair, asked)
        far = _far(pair_logits, alone_logits)
        wanted = greedy(pair, asked, pair_logits)
        wanted_logits = pair_logits if wanted == asked else logits(pair, wanted)
        effect = None
        if reference is None:
            with pair.disable_adapter():
                effect = _far(pair_logits, logits(pair, asked))
    parted = [_margin(one, two, prompt, logit) for one, two, prompt, logit in _zip(wanted, got, prompts, wanted_logits)]
    parted = [margin for margin in parted if margin is not None]
    close = far is not None and far <= tolerance
    near = [margin for margin in parted if margin <= tolerance]
    ok = close and len(near) == len(parted)
    return {
        "max_abs_logit_diff": far,
        "tolerance": tolerance,
        "adapter_effect": effect,
        "same_tokens": not parted,
        "near_ties": len(near) if close else 0,
        "ok": ok,
        "dtype": dtype,
        "prompts": len(prompts),
        "prompt": prompt,
        "causes": unlike + ([] if ok and not made.get("overflowed") else explain(plan, made) or [{"kind": "unexplained"}]),
        "tokens": [{"prompt": p[0].tolist(), "answer": answer} for p, answer in zip(prompts, got, strict=True)],
        "answers": [
            {"adapter": tokenizer.decode(a, skip_special_tokens=True), "merged": tokenizer.decode(b, skip_special_tokens=True)}
            for a, b in zip(wanted, got, strict=True)
        ],
    }  # fmt: skip


def _written(model: Any, prompts: "list[torch.Tensor]", ends: "list[int]") -> "list[list[int]] | None":
    """Return the model's answers to all prompts, decoded as one batch; None if `Decoder` does not support the model.

    Fast, but only a proposal: the model's plain forward pass confirms whether it is the model's answer.
    """
    decoder = Decoder(model)
    rows = [Row(prompt[0].tolist()) for prompt in prompts]
    if not decoder.fits(max(len(row.ids) for row in rows) + MOST_TOKENS):
        return None
    answers: list[list[int]] = [[] for _ in rows]
    for tokens in decoder.write(rows, MOST_TOKENS, Draw()):
        for answer, token in zip(answers, tokens, strict=True):
            if not answer or answer[-1] not in ends:
                answer.append(token)
        if all(answer[-1] in ends for answer in answers):
            break
    return answers


def _generated(model: Any, prompts: "list[torch.Tensor]", ends: "list[int]", tokenizer: Any) -> "list[list[int]]":
    """Return the model's greedy answer to each prompt, by transformers' own `generate`."""
    found = []
    for prompt in prompts:
        out = model.generate(
            input_ids=prompt.to(model.device),
            attention_mask=torch.ones_like(prompt).to(model.device),
            max_new_tokens=MOST_TOKENS,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
        )
        found.append(out[0, prompt.shape[1] :].tolist())
    return found


def explain(plan: "dict[str, Any]", made: "dict[str, Any]") -> "list[dict[str, Any]]":
    """Return what is wrong with the merged tensors: a different base or adapter, values not finite, precision."""
    base, merged = Weights(Path(plan["base"])), Weights(Path(plan["merged"]))
    adapter = read_adapter(Path(plan["adapter"])) if plan["kind"] == "lora" else None
    pairs = adapter.pairs if adapter and not adapter.special else {}
    special = bool(adapter and adapter.special) or plan["kind"] == "full"
    causes: list[dict[str, Any]] = []
    odd, foreign, other, untouched, narrow = {}, [], [], 0, None
    for entry in merged:
        tensor = merged.read(entry.name)
        if not entry.dtype.is_floating_point:
            continue
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            odd[entry.name] = bad
            continue
        origin = base.entries.get(entry.name)
        if origin is None or origin.shape != entry.shape:
            foreign.append(entry.name)
            continue
        if _narrower(entry.dtype, origin.dtype):
            narrow = (origin.dtype, entry.dtype)
        before = base.read(entry.name).to(entry.dtype).float()
        expected = before
        if entry.name in pairs:
            a, b = (part.float() for part in pairs[entry.name])
            expected = before + adapter.scale(a) * (b @ a)
        if special or not _differs(tensor.float(), expected, entry.dtype):
            continue
        if entry.name not in pairs:
            foreign.append(entry.name)
        else:
            other.append(entry.name)
            untouched += not _differs(tensor.float(), before, entry.dtype)
    # An adapter for other layers changes other matrices, but never a norm or the embeddings.
    fixed = [name for name in foreign if len(merged.entries[name].shape) != 2 or "embed" in name]
    if fixed:
        causes.append({"kind": "wrong_base", "tensor": fixed[0], "count": len(foreign)})
    elif foreign or other:
        kind = "not_merged" if untouched == len(other) and not foreign else "other_adapter"
        causes.append({"kind": kind, "tensor": [*other, *foreign][0], "count": len(other) + len(foreign)})
    if odd:
        name = max(odd, key=lambda key: odd[key])
        dtype = str(merged.entries[name].dtype).removeprefix("torch.")
        was = str(base.entries[name].dtype).removeprefix("torch.") if name in base.entries else "?"
        causes.append({"kind": "overflow", "tensor": name, "count": sum(odd.values()), "dtype": dtype, "was": was})
    elif narrow and not made.get("chosen_dtype"):
        was, now = (str(dtype).removeprefix("torch.") for dtype in narrow)
        causes.append({"kind": "precision", "was": was, "dtype": now})
    return causes


def _reference(model: Any, plan: "dict[str, Any]", reference: "Callable[[], Any] | None") -> Any:
    if reference is not None:
        tensors = {name: tensor.to(model.dtype) for name, tensor in reference().items()}
        model.load_state_dict(tensors, strict=False)
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, plan["adapter"]).eval()


def _device(size: int) -> str:
    """Return the GPU if the model fits, else the CPU."""
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > size * _ONCE_LOADED + (1 << 30):
        return "cuda"
    return "cpu"


def _far(one: "list[torch.Tensor]", two: "list[torch.Tensor]") -> "float | None":
    """Return the largest difference; None if a value is not a number."""
    far = [float((a - b).abs().max()) for a, b in zip(one, two, strict=True)]
    return max(far) if all(map(math.isfinite, far)) else None


def _zip(*lists: Any) -> Any:
    return zip(*lists, strict=True)


def _margin(one: "list[int]", two: "list[int]", prompt: torch.Tensor, logits: torch.Tensor) -> "float | None":
    """Return by how much the reference preferred its token where two answers diverge; None if they are equal."""
    if one == two:
        return None
    at = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    best = logits[prompt.shape[1] + at - 1].topk(2).values
    return float(best[0] - best[1])


def _float_dtype(weights: Weights) -> torch.dtype:
    return next((entry.dtype for entry in weights if entry.dtype.is_floating_point), torch.float32)


def _narrower(dtype: torch.dtype, than: torch.dtype) -> bool:
    one, two = torch.finfo(dtype), torch.finfo(than)
    return one.eps > two.eps or one.max < two.max


def _differs(one: torch.Tensor, two: torch.Tensor, dtype: torch.dtype) -> bool:
    """Return whether two tensors differ by more than rounding to `dtype` explains."""
    largest = float(two.abs().max()) if two.numel() else 0.0
    return bool(one.numel() and float((one - two).abs().max()) > 2 * torch.finfo(dtype).eps * max(largest, 1e-30))
