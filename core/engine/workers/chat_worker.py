"""Chat server: one copy of the base model's weights, an adapter per row, all rows in one batch.

Runs in the engine's interpreter as `python -m core.engine.workers.chat_worker --base DIR`; never imported. Listens on
the Unix socket `socket` in its job's directory, one request per connection; concurrent requests are queued:

    {"rows": [{"prompt": text, "adapter": directory or checkpoint or null, "model": directory or null}, …],
     "stop_words": […], "max_new_tokens": n, "temperature": 0 for greedy, "top_p": p, "seed": n, "stream": bool}

and replies in lines: `{"queued": n}` if n others are ahead, `{"row", "text"}` as the text grows (with `stream`), then
for each row `{"row", "answer", "ids", "tokens", "ttft_ms", "tokens_per_s", "finish": "stop"|"length"}`, and finally
`{"done": true}`, or `{"error": text, "memory": bool}`. With `"weigh": true` each row holds an answer, `"ids"`, and gets
`{"row", "tokens", "agreed", "logprob"}` of it under its model; without `"ids"` the prompt itself is scored. A row's
`model` is a complete model used in place of the base, loaded next to it. Knows nothing of conversations or templates: a
prompt is text. Exits after `--idle` seconds without a request.
"""

import argparse
import contextlib
import json
import os
import queue
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from core.engine.workers import code_gate, torch_files
from core.engine.workers.unneeded import leave_out, leave_out_compiler, or_whole
from core.ground import garbage
from core.ground.figures import size
from core.ground.progress import progress_file, write_progress

if TYPE_CHECKING:
    from core.engine.workers.answering import Worker


class Gone(Exception):
    """The client has closed the connection."""


class Server:
    """Accepts connections on one thread, and answers requests one after another on the main thread."""

    def __init__(self, worker: "Worker", directory: Path) -> None:
        self.worker, self.busy = worker, False
        self.waiting: queue.Queue[Any] = queue.Queue()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A socket's path is limited to 107 bytes; via the open directory it is always short.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        path = f"/proc/self/fd/{descriptor}/socket"
        if os.path.lexists(path):
            os.unlink(path)
        self.socket.bind(path)
        os.chmod(path, 0o600)
        self.socket.listen(64)

    def take(self) -> None:
        """Accept connections forever; clients that must wait are notified."""
        while True:
            connection, _ = self.socket.accept()
            before = self.waiting.qsize() + self.busy
            if before:
                with contextlib.suppress(OSError):
                    connection.sendall(json.dumps({"queued": before}).encode() + b"\n")
            self.waiting.put(connection)

    def serve(self, idle: float) -> None:
        """Answer requests until there has been none for `idle` seconds."""
        threading.Thread(target=self.take, daemon=True).start()
        while True:
            try:
                connection = self.waiting.get(timeout=idle)
            except queue.Empty:
                return
            self.busy = True
            # A client that has gone is noticed at the latest when the stream is flushed at the end.
            with contextlib.suppress(OSError), connection, connection.makefile("rw", encoding="utf-8") as stream:
                self.answer(connection, stream)
            self.busy = False

    def answer(self, connection: socket.socket, stream: Any) -> None:
        """Answer one request."""

        def send(line: "dict[str, Any]") -> None:
            try:
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
                stream.flush()
            except OSError as error:
                raise Gone from error

        def check() -> None:
            """Raise Gone if the client has disconnected."""
            with contextlib.suppress(BlockingIOError):
                if not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    raise Gone

        try:
            request = json.loads(stream.readline())
            if request.get("weigh"):
                self.worker.weigh(request, send, check)
            else:
                self.worker.answer(request, send, check, time.perf_counter())
            send({"done": True})
        except Gone:
            print("The client has disconnected.", flush=True)
        except Exception as error:
            # A failed request (out of memory, invalid) must not take the loaded model down.
            text = f"{type(error).__name__}: {error}"
            memory = "OutOfMemory" in text or "MemoryError" in text or "can't allocate memory" in text
            print(text, flush=True)
            if memory:
                self.worker.drop_models(but={self.worker.base})
                self.worker.decoders[self.worker.base].batches.clear()
            with contextlib.suppress(Gone):
                send({"error": text, "memory": memory})


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Load the models, then serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--adapter", action="append", default=[], help="load now instead of at the first question")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--idle", type=float, default=1800.0)
    options = parser.parse_args()
    job = progress_file()
    if job is None:
        sys.exit("Started by hand: only a job has a directory for the socket.")
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        # Under memory pressure the kernel should kill the chat, not a training run.
        file.write("500")
    leave_out(sys.argv[1:])
    leave_out_compiler()
    with or_whole():
        torch_files.guard()
        code_gate.close()
        from core.engine.workers.answering import Worker, weights_of

    garbage.resume()
    gpu = torch.cuda.is_available() and options.device != "cpu"
    if options.device == "cuda" and not gpu:
        sys.exit("There is no GPU here: load the models on the CPU.")
    device = "cuda" if gpu else "cpu"
    weights = weights_of(options.base)
    if gpu:
        free, _ = torch.cuda.mem_get_info()
        needed = 1.1 * weights + 300e6
        if free < needed:
            sys.exit(f"NO ROOM: the models take {size(needed)} and {size(free)} are free.")
    elif weights < 200e6:
        # For such small matrices, threads wait for each other longer than they compute, even more next to a training
        # run.
        torch.set_num_threads(1)
    before, loaded = resident(), threading.Event()

    def watch() -> None:
        """Report loading progress by how much of the model is in memory."""
        while not loaded.wait(0.3):
            there = torch.cuda.memory_allocated() if gpu else resident() - before
            write_progress(done=0.2 + 0.6 * min(1.0, there / max(weights, 1)), note="load", device=device)

    threading.Thread(target=watch, daemon=True).start()
    worker = Worker(options.base, device)
    loaded.set()
    write_progress(done=0.85, note="warm", device=device)
    rows = [{"prompt": "你好", "adapter": adapter} for adapter in (None, *options.adapter)]
    # Warm up for the first question: load the adapters, and on a GPU capture the graph for both columns.
    request = {"rows": rows, "max_new_tokens": 2, "stop_words": []}
    worker.answer(request, lambda _: None, lambda: None, time.perf_counter())
    server = Server(worker, job.parent)
    quick = worker.decoders[worker.base]
    precision = f"{device} {str(quick.dtype).rpartition('.')[2]}"
    how = {"quick": quick.usable, "graphs": quick.graphs, "kernels": quick.fused is not None, "why": quick.why}
    how |= {"precision": precision}
    write_progress(done=1.0, note="ready", device=device, **how)
    server.serve(options.idle)


if __name__ == "__main__":
    main()
