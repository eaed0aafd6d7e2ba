"""Asks the base model, the tuned one and others the same question, through a chat worker that holds them all.

Starts the worker as a job of the workspace, finds one already running, talks to it. Questions become text by the prompt
template of the side: the base model's own, or that of the run's training. A worker holds one base model; the adapter is
named with each question and loaded when needed.
"""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.chat.room import Device, NoRoom, check_room
from core.chat.side import BASE, Side, sides, tuned_side
from core.engine.commands import engine_command, engine_environment
from core.engine.failures.finish import unfinished
from core.engine.failures.reasons import reason
from core.engine.presets import PromptTemplate
from core.ground.errors import BadInput, WorkFailed
from core.ground.lock import locked
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.jobs.job import Job, jobs_in, wait_until
from core.jobs.process import Identity
from core.models import model as models
from core.training.run import Run

LOADING_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question to one side, by its key: the conversation so far, its last answer None; or a `text` to continue."""

    side: str
    turns: Sequence[tuple[str, str | None]] = ()
    system: str = ""
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How answers are sampled; temperature 0 is greedy."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 0.9
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Worker:
    """A chat worker: its job, the template its model was tuned with, and the sides that can be asked."""

    job: Job
    template: PromptTemplate
    sides: Mapping[str, Side] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.job.status().live and self.job.progress.get("note") == "ready"

    @property
    def precision(self) -> str | None:
        """Device and precision, such as `cpu float32`; None until it is ready."""
        return self.job.progress.get("precision")

    def wait_ready(self, on_progress: Callable[[Job], None] | None = None) -> "Worker":
        """Wait until the models are loaded. Raises WorkFailed with the reason if they cannot be."""

        def settled() -> bool:
            if on_progress:
                on_progress(self.job)
            return self.ready or not self.job.status().live

        wait_until(settled, LOADING_SECONDS)
        if not self.ready:
            if room := no_room(self.job):
                raise room
            what = Text("对话模型没有加载成功", "the chat models could not be loaded")
            raise unfinished(self.job, what, reason(self.job) or Text("超时", "timed out"))
        return self

    def stream(self, asks: Sequence[Ask], sampling: Sampling | None = None) -> Iterator[dict[str, Any]]:
        """Yield the worker's lines as they arrive: `queued` (requests ahead), `row` and text so far, `row` and figures.

        Closing the iterator stops the answer. Raises WorkFailed if the worker fails or dies.
        """
        yield from self._lines(self._request(asks, sampling or Sampling()) | {"stream": True})

    def ask(
        self,
        asks: Sequence[Ask],
        sampling: Sampling | None = None,
        on_answer: Callable[[int], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the answers in the order asked.

        Each has `prompt` (the text sent), `answer`, `ids`, `tokens`, `ttft_ms`, `tokens_per_s` and `finish`.
        `on_answer` is called with the number of complete answers.
        """
        lines = _in_order(self._lines(self._request(asks, sampling or Sampling())), len(asks), on_answer)
        return [{"prompt": self.prompt(ask), **line} for ask, line in zip(asks, lines, strict=True)]

    def weigh(self, asks: Sequence[Ask], answers: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        """Rate a given answer (`ids` of a line) with each side: `tokens`, `agreed`, `logprob`, in the order asked.

        `agreed` counts the tokens that the side would have chosen too, each after those before it.
        """
        rows = [{**self._row(ask), "ids": list(ids)} for ask, ids in zip(asks, answers, strict=True)]
        return _in_order(self._lines({"weigh": True, "rows": rows}), len(asks))

    def read(self, asks: Sequence[Ask]) -> list[dict[str, Any]]:
        """Rate a text with each side, from its second token on: `tokens`, `agreed`, `logprob`, in the order asked."""
        return _in_order(self._lines({"weigh": True, "rows": [self._row(ask) for ask in asks]}), len(asks))

    def prompt(self, ask: Ask) -> str:
        """Return the text sent for a question, without the BOS token that the tokenizer may add."""
        return self._row(ask)["prompt"]

    def stop(self) -> None:
        """Stop the worker and free its memory."""
        self.job.stop(discard=True)

    def _request(self, asks: Sequence[Ask], sampling: Sampling) -> dict[str, Any]:
        return {
            "rows": [self._row(ask) for ask in asks],
            "max_new_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": False,
        }

    def _lines(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        descriptor = os.open(self.job.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                # Connect through the open directory: a socket's path is limited to 107 bytes.
                connection.connect(f"/proc/self/fd/{descriptor}/socket")
                with connection.makefile("rw", encoding="utf-8") as file:
                    file.write(json.dumps(request, ensure_ascii=False) + "\n")
                    file.flush()
                    for text in file:
                        line = json.loads(text)
                        if line.get("done"):
                            return
                        if "error" in line:
                            raise _failed(line)
                        yield line
            raise self._gone()
        except OSError as error:
            raise self._gone() from error
        finally:
            os.close(descriptor)

    def _row(self, ask: Ask) -> dict[str, Any]:
        side = self.sides.get(ask.side) or Side(key=ask.side, template=self.template)
        return {
            "side": ask.side,
            "prompt": side.template.prompt(ask.turns, ask.system) if ask.text is None else ask.text,
            "stop_words": list(side.template.stop_words),
            "adapter": str(side.adapter) if side.adapter else None,
            "model": str(side.model) if side.model else None,
        }

    def _gone(self) -> WorkFailed:
        """Return the error for a worker that has exited, with the reason once it is known."""
        wait_until(lambda: not self.job.status().live, 3)
        why = reason(self.job)
        return WorkFailed(
            f"对话进程已退出（{why.zh if why else '连接中断'}）：请重新加载。日志：{self.job.log}",
            f"the chat process exited ({why.en if why else 'connection lost'}): load it again. Log: {self.job.log}",
        )


def _in_order(
    lines: Iterator[dict[str, Any]], count: int, on_answer: Callable[[int], None] | None = None
) -> list[dict[str, Any]]:
    """Return the last line of each row, in order."""
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        if "row" in line:
            found[line["row"]] = line
            if on_answer:
                on_answer(len(found))
    return [{key: value for key, value in found[row].items() if key != "row"} for row in range(count)]


def worker_for(
    workspace: Workspace,
    run: Run | None = None,
    model: str | None = None,
    *,
    device: Device = "auto",
    own: bool = False,
) -> Worker:
    """Return the chat worker for a run (base, tuned and others) or for a model alone; reuse one that is running.

    A worker that is this process's `own`, for scoring for example, is not shared while the process lives. Raises
    BadInput if the run has no model to ask yet or another process has its own worker, NoRoom if memory is insufficient
    now.
    """
    if run is None and model is None:
        raise BadInput("请选择一个训练或模型", "select a run or a model")
    chosen = models.usable(workspace, model or run.facts.model.name)
    template = run.template if run else chosen.prompt_template
    asked = sides(workspace, run) if run is not None else {BASE: Side(key=BASE, template=template)}
    if run is not None and len(asked) == 1:
        raise BadInput(
            f"训练 {run.id} 还没有可以对话的检查点：先完成训练（全量微调还要先导出）",
            f"the run {run.id} has no model to chat with yet: train it first (a full fine-tune must also be exported)",
        )
    with locked(workspace.jobs / ".chat.lock"):
        live = _live(workspace, chosen.path)
        if live is not None:
            return Worker(live, template, asked)
        if any(_owned(job) for job in jobs_in(workspace.jobs, "chat") if job.status().live):
            raise BadInput(
                "评分、重放或演示正在用模型：等它结束再加载",
                "the models are in use by scoring, answer generation or the demo: load them when it has finished",
            )
        # Only one at a time, so that only one takes memory.
        stop_all(workspace)
        check_room(workspace, chosen, device)
        argv = engine_command(workspace, "core.engine.workers.chat_worker", "--base", chosen.path, "--device", device)
        tuned = tuned_side(run) if run else None
        if tuned and tuned.adapter:
            argv += ["--adapter", str(tuned.adapter)]
        facts = {"model": chosen.name, "path": str(Path(chosen.path).resolve())}
        if own and (process := Identity.of(os.getpid())):
            facts["owner"] = process.to_json()
        job = Job.start(workspace.jobs, "chat", argv, env=engine_environment(workspace), facts=facts)
    return Worker(job, template, asked)


def worker_there(workspace: Workspace, run: Run) -> Worker | None:
    """Return the chat worker for a run if it is loaded or loading, else None."""
    # As in `worker_for`, not where it was trained: a workspace may have been moved or copied.
    live = _live(workspace, workspace.model(run.facts.model.name))
    return Worker(live, run.template, sides(workspace, run)) if live else None


def _live(workspace: Workspace, base: Path) -> Job | None:
    """Return the live worker that holds this base model and belongs to no process."""
    wanted = str(base.resolve())
    found = (job for job in reversed(jobs_in(workspace.jobs, "chat")) if _base_of(job) == wanted)
    return next((job for job in found if job.status().live and not job.stopping and not _owned(job)), None)


def _owned(job: Job) -> bool:
    """Return whether the process that owns a worker is alive."""
    owner = Identity.from_json((job.spec.get("facts") or {}).get("owner"))
    return owner is not None and owner.alive()


def _base_of(job: Job) -> str | None:
    return (job.spec.get("facts") or {}).get("path")


def no_room(job: Job) -> NoRoom | None:
    """Return the worker's report that GPU memory was insufficient, in words; None otherwise."""
    if job.status().live:
        return None
    found = re.search(r"NO ROOM: the models take ([\d.]+ \w+) and ([\d.]+ \w+) are free", job.log_tail())
    if found is None:
        return None
    return NoRoom(
        f"显存只剩 {found[2]}，对话模型需要 {found[1]}：等训练结束，或改在 CPU 上加载",
        f"only {found[2]} of GPU memory free, and chat needs {found[1]}: wait for the training to finish, or load on the CPU",
    )


def _failed(line: dict[str, Any]) -> WorkFailed:
    if line.get("memory"):
        return WorkFailed(
            f"内存不足，这个问题没有回答完（模型还在）：缩短问题或对话，或少比较一列。{line['error'][:200]}",
            "out of memory for this question (the models are still loaded): shorten it, or compare fewer columns. "
            f"{line['error'][:200]}",
        )
    return WorkFailed(f"对话出错：{line['error']}", f"the chat failed: {line['error']}")


def stop_all(workspace: Workspace) -> int:
    """Stop all chat workers of the workspace; return how many there were."""
    live = [job for job in jobs_in(workspace.jobs, "chat") if job.status().live]
    for job in live:
        job.stop(discard=True)
    return len(live)
