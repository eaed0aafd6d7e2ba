"""Answers many prompts at once: which model and adapter each is for, its text as it grows, when it ends.

A part of the chat worker, which listens and sends; the tokens are `decoding`'s.
"""

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.engine.workers.adapter import read_adapter
from core.engine.workers.beginning import begun
from core.engine.workers.decoding import Decoder, Draw, Row, sampled
from core.engine.workers.padded import bears, fits, padded
from core.engine.workers.weighing import Given, weigh
from core.ground.figures import size

# Rows that are answered together.
MOST_ROWS = 32
MOST_ADAPTERS = 8
# What must be left free beside a further model: a training takes it at its next evaluation.
BESIDE_BYTES = 1e9


def weights_of(path: Path) -> int:
    """Bytes of a model's weights on disk."""
    return sum(f.stat().st_size for p in ("*.safetensors", "pytorch_model*.bin") for f in path.glob(p))


def available_bytes() -> int:
    """Memory that a process can still take, as the kernel sees it (`MemAvailable`)."""
    with open("/proc/meminfo") as file:
        found = next(line for line in file if line.startswith("MemAvailable"))
    return int(found.split()[1]) * 1024


class Answer:
    """One row's answer as it grows: tokens to text without half a character, and when each came."""

    def __init__(self, tokenizer: Any, number: int, ends: "set[int]", stops: "list[str]", accepted: float) -> None:
        self.tokenizer, self.number, self.ends, self.stops, self.accepted = tokenizer, number, ends, stops, accepted
        self.ids: list[int] = []
        self.text, self.finish = "", ""
        self.first = self.last = 0.0
        self._from = self._read = 0

    def take(self, token: int) -> bool:
        """Take a token; whether there is more text now."""
        now = time.perf_counter()
        self.first, self.last = self.first or now, now
        if token in self.ends:
            self.finish = "stop"
            return False
        self.ids.append(token)
        # Only the last few tokens are decoded: text before them does not change any more.
        before = self._decoded(self.ids[self._from : self._read])
        after = self._decoded(self.ids[self._from :])
        if len(after) <= len(before) or after.endswith("\ufffd"):
            return False
        self.text += after[len(before) :]
        self._from, self._read = self._read, len(self.ids)
        for stop in self.stops:
            if stop in self.text:
                self.text, self.finish = self.text.partition(stop)[0], "stop"
        return True

    def result(self) -> "dict[str, Any]":
        """The final line. Speed is of tokens after the first, which is counted by its own time."""
        count, spent = len(self.ids), self.last - self.first
        return {
            "row": self.number,
            "answer": self.text.strip(),
            "tokens": count,
            "ttft_ms": round(1000 * (self.first - self.accepted), 1),
            "tokens_per_s": round((count - 1) / spent, 1) if count > 1 and spent > 0 else None,
            "finish": self.finish or "length",
            "ids": self.ids,
        }

    def _decoded(self, ids: "list[int]") -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


class Worker:
    """The models, loaded once; adapters and further models as they are asked for."""

    def __init__(self, base: Path, device: str) -> None:
        self.base, self.device = str(base), device
        self.tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=True)
        self.decoders = {self.base: self.load(base)}
        self.adapters: dict[str, None] = {}

    def load(self, path: Path, *, beside: bool = False) -> Decoder:
        """A model from its directory. Raises MemoryError where it is to stand `beside` the base and has no room."""
        if beside:
            self.look_for_room(path)
        model = AutoModelForCausalLM.from_pretrained(path, torch_dtype="auto", trust_remote_code=True)
        return self.ready(model, str(path))

    def look_for_room(self, path: Path) -> None:
        """Raise MemoryError where what is free does not hold one more model and what a training beside may take."""
        needed = 1.1 * weights_of(path) + BESIDE_BYTES
        free = torch.cuda.mem_get_info()[0] if self.device == "cuda" else available_bytes()
        if free < needed:
            raise MemoryError(f"{size(needed)} > {size(free)}")

    def ready(self, model: Any, name: str) -> Decoder:
        """A model on its device, with the quickest way to ask it that computes what it does."""
        decoder = Decoder(model.to(self.device).eval())
        if not decoder.usable:
            padding = bears(decoder)
            decoder.pads = not padding
            how = f"one row at a time ({padding})" if padding else "in padded batches"
            print(f"{name} is asked {how}: {decoder.why}", flush=True)
        return decoder

    def decoder_of(self, row: "dict[str, Any]") -> "tuple[Decoder, str | None]":
        """The model that answers a row and the name of its adapter, loaded if they are not."""
        if row.get("model"):
            key = _stamp(row["model"])
            if key not in self.decoders:
                self.drop_models(but={self.base})
                self.decoders[key] = self.load(Path(row["model"]), beside=True)
            return self.decoders[key], None
        if not row.get("adapter"):
            return self.decoders[self.base], None
        key = _stamp(row["adapter"])
        if key in self.decoders:
            return self.decoders[key], None
        base = self.decoders[self.base]
        if key not in base.adapters.names:
            adapter = read_adapter(Path(row["adapter"]))
            if adapter.special:
                # Computed by PEFT into a copy of the base.
                print(f"{adapter.special}: the adapter is merged into a copy of the base model.", flush=True)
                self.drop_models(but={self.base})
                self.decoders[key] = self.merged(Path(row["adapter"]), key)
                return self.decoders[key], None
            if len(base.adapters.names) >= MOST_ADAPTERS:
                base.forget(next(name for name in self.adapters if name in base.adapters.names))
            base.adapters.add(key, adapter)
        # The one unused the longest is the first to go.
        self.adapters.pop(key, None)
        self.adapters[key] = None
        return base, key

    def merged(self, adapter: Path, name: str) -> Decoder:
        """The base with an adapter of a special kind merged into it."""
        from peft import PeftModel

        self.look_for_room(Path(self.base))
        model = AutoModelForCausalLM.from_pretrained(self.base, torch_dtype="auto", trust_remote_code=True)
        return self.ready(PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(), name)

    def drop_models(self, but: "set[str]") -> None:
        """Give back the memory of whole models that are not asked now."""
        for key in [key for key in self.decoders if key not in but]:
            del self.decoders[key]
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def answer(self, request: "dict[str, Any]", send: Any, check: Any, accepted: float) -> None:
        """Answer all rows of a request: those of one model in one batch, several models in turn, token by token."""
        draw = Draw(
            temperature=float(request.get("temperature", 0)),
            top_p=float(request.get("top_p", 1.0)),
            seed=int(request.get("seed", 0)),
        )
        rows: dict[int, list[tuple[Answer, Row]]] = {}
        decoders: dict[int, Decoder] = {}
        for number, row in enumerate(request["rows"]):
            decoder, adapter = self.decoder_of(row)
            decoders[id(decoder)] = decoder
            ends, stops = self.ends(row.get("stop_words", request.get("stop_words", [])))
            answer = Answer(self.tokenizer, number, ends, stops, accepted)
            ids = begun(self.tokenizer, row["prompt"])
            rows.setdefault(id(decoder), []).append((answer, Row(ids, adapter)))
        most, stream = int(request.get("max_new_tokens", 128)), bool(request.get("stream"))
        writers = [self.write(decoders[key], part, most, draw) for key, part in rows.items()]
        try:
            while writers:
                for writer in list(writers):
                    changed = next(writer, None)
                    check()
                    if changed is None:
                        writers.remove(writer)
                        continue
                    for answer, more in changed:
                        if stream and more:
                            send({"row": answer.number, "text": answer.text})
                        if answer.finish:
                            send(answer.result())
        finally:
            for writer in writers:
                writer.close()

    def weigh(self, request: "dict[str, Any]", send: Any, check: Any) -> None:
        """What each row's model makes of the answer, in tokens, that stands in the row; of a text, of all but its first token."""
        rows: dict[int, list[Given]] = {}
        decoders: dict[int, Decoder] = {}
        for number, row in enumerate(request["rows"]):
            decoder, adapter = self.decoder_of(row)
            decoders[id(decoder)] = decoder
            prompt = begun(self.tokenizer, row["prompt"])
            prompt, answer = (prompt, row["ids"]) if "ids" in row else (prompt[:1], prompt[1:])
            rows.setdefault(id(decoder), []).append(Given(number, prompt, answer, adapter))
        for key, part in rows.items():
            for weight in weigh(decoders[key], part):
                check()
                send(
                    {"row": weight.number, "tokens": weight.tokens, "agreed": weight.agreed, "logprob": weight.logprob}
                )

    def ends(self, words: "list[str]") -> "tuple[set[int], list[str]]":
        """The tokens that end an answer, and the words that do which are not one token."""
        ends = {self.tokenizer.eos_token_id}
        known = {word: self.tokenizer.convert_tokens_to_ids(word) for word in words}
        single = {w: i for w, i in known.items() if i is not None and i != self.tokenizer.unk_token_id}
        return ends | set(single.values()), [word for word in words if word not in single]

    def write(
        self, decoder: Decoder, rows: "list[tuple[Answer, Row]]", most: int, draw: Draw
    ) -> "Iterator[list[tuple[Answer, bool]]]":
        """Step by step, the answers that took a token and whether their text grew; the finished ones are told once."""
        # Prompts of about one length share a batch.
        rows = sorted(rows, key=lambda row: len(row[1].ids)) if len(rows) > MOST_ROWS else rows
        for start in range(0, len(rows), MOST_ROWS):
            part = rows[start : start + MOST_ROWS]
            prompts = [row for _, row in part]
            with contextlib.closing(steps(decoder, prompts, most, draw)) as tokens_of_all:
                for number, tokens in enumerate(tokens_of_all, 1):
                    changed = []
                    for (answer, _), token in zip(part, tokens, strict=True):
                        if not answer.finish:
                            more = answer.take(token)
                            if number == most and not answer.finish:
                                answer.finish = "length"
                            changed.append((answer, more))
                    yield changed
                    if all(answer.finish for answer, _ in part):
                        break


def steps(decoder: Decoder, rows: "list[Row]", most: int, draw: Draw) -> "Iterator[list[int]]":
    """The tokens of all rows, step by step, the quickest way that is the model's own for texts of this length."""
    length = max(len(row.ids) for row in rows) + most
    if decoder.fits(length):
        return decoder.write(rows, most, draw)
    if decoder.pads and fits(decoder, length):
        return padded(decoder, rows, most, draw)
    return plainly(decoder, rows, most, draw)


@torch.inference_mode()
def plainly(decoder: Decoder, rows: "list[Row]", most: int, draw: Draw) -> "Iterator[list[int]]":
    """As `Decoder.write`, by the model's plain forward pass with a cache of its own, one row at a time."""
    chance, model = random.Random(draw.seed), decoder.model
    pasts: list[Any] = [None] * len(rows)
    inputs = [torch.tensor([row.ids], device=model.device) for row in rows]
    for _ in range(most):
        at, tokens = chance.random(), []
        for number, row in enumerate(rows):
            decoder.adapters.layout.set([row.adapter])
            out = model(input_ids=inputs[number], past_key_values=pasts[number], use_cache=True)
            logits, pasts[number] = out.logits[:, -1].float(), out.past_key_values
            inputs[number] = sampled(logits, draw, at) if draw.temperature > 0 else logits.argmax(-1, keepdim=True)
            tokens.append(int(inputs[number]))
        yield tokens


def _stamp(path: str) -> str:
    """The name of what lies at `path`, another one when it is written anew."""
    place = Path(path)
    inner = [p for p in (place / "adapter_model.safetensors", place / "config.json") if p.is_file()]
    return f"{path}:{(inner or [place])[0].stat().st_mtime_ns}"
