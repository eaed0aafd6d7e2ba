"""Answers prompts with a base model and its adapter: one copy of the weights, the adapter switched per row.

Runs in the engine's interpreter as `python -m core.engine.chat_worker --base DIR [--adapter DIR]`; imported
by nobody. Listens on the Unix socket `socket` in its job's directory, one request a connection, in turn:

    {"rows": [{"side": "base"|"tuned", "prompt": text}, …], "stop_words": […], "max_new_tokens": n,
     "temperature": 0 for greedy, "top_p": p, "seed": n, "stream": bool}

and answers in lines: `{"row", "text"}` as the text grows (with `stream`), then for each row
`{"row", "answer", "tokens", "ttft_ms", "tokens_per_s", "finish": "stop"|"length"}`, at last `{"done": true}`, or
`{"error": text}`. Knows nothing of conversations or templates: a prompt is text. Ends after `--idle` seconds unasked.
"""

import argparse
import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

PROGRESS = os.environ["XTUNER_STUDIO_PROGRESS"]
# Rows of one prompt length that are answered together.
MOST_ROWS = 64


def tell(done: float, note: str) -> None:
    """Replace the progress file."""
    partial = PROGRESS + ".partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump({"done": done, "note": note, "device": DEVICE}, file)
    os.replace(partial, PROGRESS)


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Gone(Exception):
    """Whoever asked has closed the connection."""


class Answers:
    """Collects the tokens of a batch as they come (transformers' streamer protocol), and streams their text."""

    def __init__(self, worker: "Worker", numbers: "list[int]", ends: "set[int]", accepted: float, send: Any) -> None:
        self.worker, self.numbers, self.ends, self.accepted, self.send = worker, numbers, ends, accepted, send
        self.ids: list[list[int]] = [[] for _ in numbers]
        self.first: list[float] = [0.0] * len(numbers)
        self.last: list[float] = [0.0] * len(numbers)
        self.finished = [False] * len(numbers)
        self.prompt_seen = False

    def put(self, values: torch.Tensor) -> None:
        """One new token for each row; the first call brings the prompt."""
        if not self.prompt_seen:
            self.prompt_seen = True
            return
        now = time.perf_counter()
        for row, token in enumerate(values.reshape(-1).tolist()):
            if self.finished[row]:
                continue
            self.first[row] = self.first[row] or now
            self.last[row] = now
            if token in self.ends:
                self.finished[row] = True
                continue
            self.ids[row].append(token)
            if self.send:
                self.send({"row": self.numbers[row], "text": self.text(row)})

    def end(self) -> None:
        """Nothing is left to flush."""

    def text(self, row: int) -> str:
        """The text so far; a character of which only a part is there yet is left out."""
        return self.worker.tokenizer.decode(self.ids[row], skip_special_tokens=True).rstrip("\ufffd")

    def results(self) -> "list[dict[str, Any]]":
        """The final line of each row. Speed is of tokens after the first, which is counted by its own time."""
        lines = []
        for row, number in enumerate(self.numbers):
            count = len(self.ids[row])
            spent = self.last[row] - self.first[row]
            lines.append(
                {
                    "row": number,
                    "answer": self.text(row).strip(),
                    "tokens": count,
                    "ttft_ms": round(1000 * (self.first[row] - self.accepted), 1),
                    "tokens_per_s": round((count - 1) / spent, 1) if count > 1 and spent > 0 else None,
                    "finish": "stop" if self.finished[row] else "length",
                }
            )
        return lines


class Worker:
    """The models, loaded once."""

    def __init__(self, base: Path, adapter: "Path | None") -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=True)
        tell(0.5, "load")
        model = AutoModelForCausalLM.from_pretrained(base, torch_dtype="auto", trust_remote_code=True).to(DEVICE)
        self.adapter = adapter is not None
        self.model = (PeftModel.from_pretrained(model, str(adapter)) if adapter else model).eval()

    def answer(self, request: "dict[str, Any]", send: Any) -> None:
        """Answer all rows of a request; rows whose prompts are equally long share a batch, so that none is padded."""
        accepted = time.perf_counter()
        ends = {self.tokenizer.eos_token_id}
        ends |= {i for i in map(self.tokenizer.convert_tokens_to_ids, request.get("stop_words", [])) if i is not None}
        groups: dict[int, list[tuple[int, list[int], str]]] = {}
        for number, row in enumerate(request["rows"]):
            ids = self.tokenizer(row["prompt"]).input_ids
            groups.setdefault(len(ids), []).append((number, ids, row["side"]))
        for rows in groups.values():
            for start in range(0, len(rows), MOST_ROWS):
                self.batch(rows[start : start + MOST_ROWS], request, ends, accepted, send)

    def batch(self, rows: "list[Any]", request: "dict[str, Any]", ends: "set[int]", accepted: float, send: Any) -> None:
        """Generate for rows of one length."""
        numbers, prompts, sides = (list(part) for part in zip(*rows, strict=True))
        streamer = Answers(self, numbers, ends, accepted, send if request.get("stream") else None)
        ids = torch.tensor(prompts, device=DEVICE)
        torch.manual_seed(int(request.get("seed", 0)))
        temperature = float(request.get("temperature", 0))
        sampling = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if temperature > 0:
            sampling = {
                "do_sample": True,
                "temperature": temperature,
                "top_p": float(request.get("top_p", 0.9)),
                "top_k": None,
            }
        mixed = (
            {"adapter_names": ["default" if side == "tuned" else "__base__" for side in sides]} if self.adapter else {}
        )
        with torch.no_grad():
            self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=int(request.get("max_new_tokens", 128)),
                eos_token_id=sorted(ends),
                pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
                streamer=streamer,
                **sampling,
                **mixed,
            )
        for line in streamer.results():
            send(line)


def serve(worker: Worker, idle: float) -> None:
    """Answer one connection after the other until nobody has asked for `idle` seconds."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # A socket's path may have 107 bytes at most; through the open directory it is short wherever that is.
    descriptor = os.open(os.path.dirname(PROGRESS), os.O_RDONLY | os.O_DIRECTORY)
    path = f"/proc/self/fd/{descriptor}/socket"
    if os.path.lexists(path):
        os.unlink(path)
    server.bind(path)
    os.chmod(path, 0o600)
    server.listen(64)
    server.settimeout(idle)
    tell(1.0, "ready")
    while True:
        try:
            connection, _ = server.accept()
        except TimeoutError:
            return
        # An asker who has gone is noticed at the latest when what is left for it is flushed at the end.
        with contextlib.suppress(BrokenPipeError), connection, connection.makefile("rw", encoding="utf-8") as stream:

            def send(line: "dict[str, Any]", stream: Any = stream) -> None:
                try:
                    stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                    stream.flush()
                except OSError as error:
                    raise Gone from error

            try:
                worker.answer(json.loads(stream.readline()), send)
                send({"done": True})
            except Gone:
                print("The asker has gone.", flush=True)
            except Exception as error:
                # An answer that fails (memory runs out, a bad request) must not take the loaded model with it.
                print(f"{type(error).__name__}: {error}", flush=True)
                if DEVICE == "cuda":
                    torch.cuda.empty_cache()
                try:
                    send({"error": f"{type(error).__name__}: {error}"})
                except Gone:
                    pass


def main() -> None:
    """Load, then serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--idle", type=float, default=1800.0)
    options = parser.parse_args()
    tell(0.3, "load")
    worker = Worker(options.base, options.adapter)
    serve(worker, options.idle)


if __name__ == "__main__":
    main()
