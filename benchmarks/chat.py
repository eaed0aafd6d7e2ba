"""The chat's own decoding against transformers' `generate` and PEFT's mixed batch; base and tuned together or in turn.

    python -m benchmarks.chat                       the demo model's shape, on the CPU
    python -m benchmarks.chat --shape 1.8b          InternLM2-1.8B's shape with random weights, on a GPU
    python -m benchmarks.chat --model DIR           a real model, without an adapter: its answers to four questions

Random weights and a random adapter: no answer ends by itself, all have the same length. First the tokens of all methods
are compared in single precision; then each is timed in the model's own precision, interleaved. On a GPU the step is timed
in our kernels and by the model's own code, both as a graph.
"""

import argparse
import copy
import gc
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import interleaved, say, seconds, spread, write

SHAPES = {
    "demo": {
        "vocab_size": 2835, "hidden_size": 192, "intermediate_size": 576, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "rope_theta": 10000, "max_position_embeddings": 2048,
    },
    "1.8b": {
        "vocab_size": 92544, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 8, "rope_theta": 1000000, "max_position_embeddings": 32768,
        # As in the real model: recomputed in every layer with a synchronization of the GPU, which no CUDA graph can
        # contain.
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
    },
}  # fmt: skip
LAYERS = ("attention.wqkv", "attention.wo", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
PROMPT, TOKENS = 32, 64
QUESTIONS = (
    "Write a Python function that reverses a list.",
    "请介绍一下你自己",
    "What is the capital of France?",
    "用三句话解释什么是微调。",
)


def make_model(shape: str, device: str, dtype: torch.dtype, code: Path) -> Any:
    """Return InternLM2's own code with random weights, the same for the same shape."""
    import xtuner
    from transformers import AutoConfig, AutoModelForCausalLM

    source = Path(xtuner.__file__).parent / "_lite" / "modelings" / "internlm2"
    for name in ("configuration_internlm2.py", "modeling_internlm2.py"):
        (code / name).write_text((source / name).read_text(encoding="utf-8"), encoding="utf-8")
    config = {
        "model_type": "internlm2",
        "architectures": ["InternLM2ForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_internlm2.InternLM2Config",
            "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM",
        },
        "bias": False,
        **SHAPES[shape],
    }
    (code / "config.json").write_text(json.dumps(config), encoding="utf-8")
    settings = AutoConfig.from_pretrained(code, trust_remote_code=True)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(settings, trust_remote_code=True, torch_dtype=dtype)
    model.generation_config.eos_token_id = None
    return model.to(device).eval()


def make_adapter(model: Any, directory: Path, rank: int = 64) -> Path:
    """Write a random adapter on all linear layers of the blocks, in PEFT's format."""
    from safetensors.torch import save_file

    torch.manual_seed(1)
    tensors = {}
    for name, module in model.named_modules():
        if name.endswith(LAYERS):
            out, width = module.weight.shape
            prefix = f"base_model.model.{name}"
            tensors[f"{prefix}.lora_A.weight"] = torch.randn(rank, width) * width**-0.5
            tensors[f"{prefix}.lora_B.weight"] = torch.randn(out, rank) * 0.05
    directory.mkdir(exist_ok=True)
    save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 16, "bias": "none",
        "target_modules": [name.rpartition(".")[2] for name in LAYERS], "inference_mode": True,
    }  # fmt: skip
    (directory / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return directory


class Ours:
    """Our decoding."""

    def __init__(self, model: Any, adapter: Path | None = None, *, fused: bool | None = None) -> None:
        from core.engine.workers.adapter import read_adapter
        from core.engine.workers.decoding import Decoder, Draw, Row

        self.decoder, self.row, self.draw = Decoder(model, fused=fused), Row, Draw()
        if not self.decoder.usable:
            raise SystemExit(f"our decoding does not fit this model: {self.decoder.why}")
        if adapter is not None:
            self.decoder.adapters.add("tuned", read_adapter(adapter))

    def write(self, prompt: list[int], *adapters: str | None, tokens: int = TOKENS) -> list[list[int]]:
        """Return the tokens that each adapter generates for a prompt, in one batch."""
        rows = [self.row(prompt, adapter) for adapter in adapters]
        return [list(row) for row in zip(*self.decoder.write(rows, tokens, self.draw), strict=True)]

    def pace(self, prompt: list[int], *adapters: str | None, rounds: int = 5, tokens: int = 128) -> dict[str, Any]:
        """Return the time to the first token and the tokens per second after it, each as a spread."""
        firsts, paces = [], []
        for _ in range(rounds + 2):
            began, times = time.perf_counter(), []
            for _ in self.decoder.write([self.row(prompt, adapter) for adapter in adapters], tokens, self.draw):
                times.append(time.perf_counter())
            firsts.append(1000 * (times[0] - began))
            paces.append((tokens - 1) / (times[-1] - times[0]))
        # The first creates the batch; at the second the reading of the prompt is captured.
        return {"first_token_ms": spread(firsts[2:]), "then_tokens_per_s": spread(paces[2:])}


class Theirs:
    """transformers' `generate`, with PEFT's adapter."""

    def __init__(self, model: Any, adapter: Path) -> None:
        from peft import PeftModel

        self.model = PeftModel.from_pretrained(model, str(adapter)).eval()

    def write(self, prompt: list[int], *adapters: str | None, tokens: int = TOKENS) -> list[list[int]]:
        """Return the tokens for a prompt: of the base, of the adapter, or of both in PEFT's mixed batch."""
        ids = torch.tensor([prompt] * len(adapters), device=self.model.device)
        options = {
            "input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": tokens, "do_sample": False,
            "pad_token_id": 0,
        }  # fmt: skip
        with torch.inference_mode():
            if len(adapters) > 1:
                names = ["default" if adapter else "__base__" for adapter in adapters]
                out = self.model.generate(**options, adapter_names=names)
            elif adapters[0] is None:
                with self.model.disable_adapter():
                    out = self.model.generate(**options)
            else:
                out = self.model.generate(**options)
        return out[:, len(prompt) :].tolist()


def correctness(shape: str, device: str, code: Path, most: int) -> dict[str, Any]:
    """Compare all tokens in single precision: ours, base and tuned together, with theirs one at a time."""
    model = make_model(shape, device, torch.float32, code)
    adapter = make_adapter(model, code / "adapter")
    twin = copy.deepcopy(model)
    ours, theirs = Ours(model, adapter), Theirs(twin, adapter)
    torch.manual_seed(2)
    prompts = [torch.randint(3, SHAPES[shape]["vocab_size"], (n,)).tolist() for n in (100, 5, 17, PROMPT)][:most]
    same = 0
    for prompt in prompts:
        wanted = [theirs.write(prompt, side, tokens=64)[0] for side in (None, "tuned")]
        got = ours.write(prompt, None, "tuned", tokens=64)
        same += wanted == got
        for side, one, two in zip(("base", "tuned"), wanted, got, strict=True):
            if one != two:
                say(f"{side} parts at token {next(n for n, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)}")
    return {"prompts": len(prompts), "same_tokens": same, "graphs": ours.decoder.graphs, "adapter": str(adapter)}


def speed(shape: str, device: str, dtype: torch.dtype, code: Path, rounds: int) -> dict[str, Any]:
    """Return tokens per second of each method and the ratios, interleaved."""
    model = make_model(shape, device, dtype, code)
    adapter = code / "adapter"
    theirs = Theirs(copy.deepcopy(model), adapter)
    ours = Ours(model, adapter)
    paces = sides_at_pace(model, adapter, shape) if device == "cuda" else {}
    torch.manual_seed(3)
    prompt = torch.randint(3, SHAPES[shape]["vocab_size"], (PROMPT,)).tolist()
    first = [seconds(lambda: ours.write(prompt, None, "tuned", tokens=1)) for _ in range(rounds + 1)]

    def timed(way: Any, *sides: str | None) -> list[float]:
        way.write(prompt, *sides, tokens=4)
        return [seconds(lambda: way.write(prompt, *sides)) for _ in range(rounds)]

    for side in (None, "tuned"):
        ours.write(prompt, side, tokens=4)
    theirs.write(prompt, None, tokens=4)
    together = interleaved(
        lambda: ours.write(prompt, None, "tuned"),
        lambda: (ours.write(prompt, None), ours.write(prompt, "tuned")),
        rounds,
    )
    against_plain = interleaved(
        lambda: ours.write(prompt, None, "tuned"),
        lambda: (theirs.write(prompt, None), theirs.write(prompt, "tuned")),
        rounds,
    )
    against_mixed = interleaved(
        lambda: ours.write(prompt, None, "tuned"), lambda: theirs.write(prompt, None, "tuned"), rounds
    )
    figures = {
        "dtype": str(dtype).removeprefix("torch."),
        "tokens": TOKENS,
        "first_token_warm_ms": spread([1000 * value for value in first[1:]]),
        "tokens_per_s": {
            "generate, base": TOKENS / min(timed(theirs, None)),
            "generate, tuned": TOKENS / min(timed(theirs, "tuned")),
            "ours, base": TOKENS / min(timed(ours, None)),
            "ours, tuned": TOKENS / min(timed(ours, "tuned")),
            "ours, each of both": TOKENS / min(together["seconds"]["one"]),
        },
        "both_at_once_over_one_after_the_other": together["ratio"],
        "both_at_once_over_generate_one_after_the_other": against_plain["ratio"],
        "both_at_once_over_peft_mixed_batch": against_mixed["ratio"],
        "graphs": ours.decoder.graphs,
        **paces,
    }
    if device == "cuda":
        figures["memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        del theirs
        gc.collect()
        ours.decoder.batches.clear()
        ours.decoder.graphs = False
        figures["tokens_per_s"]["ours, each of both, without a graph"] = TOKENS / min(timed(ours, None, "tuned"))
    return figures


def sides_at_pace(model: Any, adapter: Path, shape: str) -> dict[str, Any]:
    """Return the pace of the steps in our kernels and by the model's own code, and the seconds that getting ready takes.

    Triton keeps what it has compiled; the first figure is of an empty cache if TRITON_CACHE_DIR is an empty directory.
    """
    torch.manual_seed(3)
    prompt = torch.randint(3, SHAPES[shape]["vocab_size"], (PROMPT,)).tolist()
    sides = {"base": (None,), "tuned": ("tuned",), "both": (None, "tuned")}
    found: dict[str, Any] = {}
    for name, fused in (("our_kernels", True), ("own_code", False)):
        twin = copy.deepcopy(model)
        began = time.perf_counter()
        ours = Ours(twin, adapter, fused=fused)
        for adapters in sides.values():
            ours.write(prompt, *adapters, tokens=2)
        first = time.perf_counter() - began
        began = time.perf_counter()
        again = Ours(copy.deepcopy(model), adapter, fused=fused)
        for adapters in sides.values():
            again.write(prompt, *adapters, tokens=2)
        found[name] = {"used": ours.decoder.fused is not None, "ready_seconds": first}
        found[name]["ready_again_seconds"] = time.perf_counter() - began
        found[name] |= {key: ours.pace(prompt, *adapters) for key, adapters in sides.items()}
    return found


def real(directory: Path, rounds: int) -> dict[str, Any]:
    """Compare the answers of a real model with `generate`'s, and time them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(directory, torch_dtype=kind).to(device).eval()
    ways = {"our_kernels": Ours(copy.deepcopy(model)), "own_code": Ours(copy.deepcopy(model), fused=False)}
    if device == "cpu":
        del ways["our_kernels"]

    def generated(ids: list[int], least: int = 0) -> list[int]:
        given = torch.tensor([ids], device=device)
        # Greedily, without what the model's own settings would add; with `least` it cannot end.
        options = {"do_sample": False, "repetition_penalty": 1.0, "eos_token_id": end, "pad_token_id": end}
        with torch.inference_mode():
            out = model.generate(
                input_ids=given, attention_mask=torch.ones_like(given), max_new_tokens=TOKENS, min_new_tokens=least,
                **options,
            )  # fmt: skip
        return out[0, len(ids) :].tolist()

    end = tokenizer.eos_token_id
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True)
        for question in QUESTIONS
    ]
    figures: dict[str, Any] = {"model": directory.name, "device": device, "dtype": str(kind).removeprefix("torch.")}
    wanted = [up_to(generated(ids), end) for ids in prompts]
    took = min(seconds(lambda: generated(prompts[0], TOKENS)) for _ in range(rounds))
    figures["generate_tokens_per_s"] = TOKENS / took
    for name, way in ways.items():
        got = [up_to(way.write(ids, None, tokens=TOKENS)[0], end) for ids in prompts]
        figures[name] = {
            "used": way.decoder.fused is not None,
            "same_answers_as_generate": sum(map(list.__eq__, got, wanted)),
            "of": len(wanted),
            "same_tokens_at_the_start": [alike(one, other) for one, other in zip(got, wanted, strict=True)],
            "tokens_of_generate": [len(ids) for ids in wanted],
            "one": way.pace(prompts[0], None),
            "two": way.pace(prompts[0], None, None),
        }
    return figures


def up_to(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids


def alike(one: list[int], other: list[int]) -> int:
    """Return how many tokens both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def main() -> None:
    """Measure one shape or one model."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, default="demo")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--prompts", type=int, default=4, help="how many to compare with generate, at most 4")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.model:
        write(f"chat-{options.model.name.lower()}", real(options.model, options.rounds))
        return
    device = "cuda" if torch.cuda.is_available() and options.shape != "demo" else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    with tempfile.TemporaryDirectory() as directory:
        figures: dict[str, Any] = {"shape": options.shape, "device": device}
        figures["correctness"] = correctness(options.shape, device, Path(directory), options.prompts)
        say(f"correctness: {figures['correctness']}")
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        figures |= speed(options.shape, device, dtype, Path(directory), options.rounds)
    write("chat" if options.shape == "demo" else f"chat-{options.shape}", figures)


if __name__ == "__main__":
    main()
