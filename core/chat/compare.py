"""Asks the base model and the tuned one the same thing, through a chat worker that holds both.

Starts the worker as a job of the workspace, finds one that runs already, talks to it. What is asked as text is
built from the run's prompt template, the same as in training.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.engine import model as models
from core.engine.commands import engine_command, engine_environment
from core.engine.presets import PromptTemplate, prompt_templates
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import locked
from core.ground.workspace import Workspace
from core.jobs.job import Job, jobs_in, wait_until
from core.jobs.reasons import reason
from core.training.run import Run

Side = Literal["base", "tuned"]
LOADING_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One question to one side: the conversation so far, its last answer None."""

    side: Side
    turns: Sequence[tuple[str, str | None]]
    system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How answers are drawn; temperature 0 is greedy."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 0.9
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Worker:
    """A chat worker by its job, and the template that its model was tuned with."""

    job: Job
    template: PromptTemplate

    @property
    def ready(self) -> bool:
        return self.job.status().live and self.job.progress.get("note") == "ready"

    def wait_ready(self, on_progress: Callable[[Job], None] | None = None) -> "Worker":
        """Wait until the models are loaded. Raises WorkFailed with the reason where they cannot be."""

        def settled() -> bool:
            if on_progress:
                on_progress(self.job)
            return self.ready or not self.job.status().live

        wait_until(settled, LOADING_SECONDS)
        if not self.ready:
            why = reason(self.job)
            raise WorkFailed(
                f"对话模型没有加载成功：{why.zh if why else '超时'}。日志：{self.job.log}",
                f"the chat models could not be loaded: {why.en if why else 'time ran out'}. Log: {self.job.log}",
            )
        return self

    def stream(self, asks: Sequence[Ask], sampling: Sampling | None = None) -> Iterator[dict[str, Any]]:
        """The worker's lines as they come: `row` and the text so far, then `row` and its figures.

        Closing the iterator stops the answer. Raises WorkFailed where the worker fails or dies.
        """
        yield from self._lines(asks, sampling or Sampling(), stream=True)

    def ask(self, asks: Sequence[Ask], sampling: Sampling | None = None) -> list[dict[str, Any]]:
        """The answers in the order asked: `answer`, `tokens`, `ttft_ms`, `tokens_per_s`, `finish`."""
        found: dict[int, dict[str, Any]] = {}
        for line in self._lines(asks, sampling or Sampling(), stream=False):
            found[line["row"]] = line
        return [{key: value for key, value in found[row].items() if key != "row"} for row in range(len(asks))]

    def stop(self) -> None:
        """End the worker and give back its memory."""
        self.job.stop(discard=True)

    def _lines(self, asks: Sequence[Ask], sampling: Sampling, *, stream: bool) -> Iterator[dict[str, Any]]:
        request = {
            "rows": [{"side": a.side, "prompt": self.template.prompt(list(a.turns), a.system)} for a in asks],
            "stop_words": list(self.template.stop_words),
            "max_new_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": stream,
        }
        gone = WorkFailed(
            f"对话进程已退出：请重新加载。日志：{self.job.log}",
            f"the chat process has ended: load it again. Log: {self.job.log}",
        )
        descriptor = os.open(self.job.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                # Through the open directory, since a socket's path may have 107 bytes at most.
                connection.connect(f"/proc/self/fd/{descriptor}/socket")
                with connection.makefile("rw", encoding="utf-8") as file:
                    file.write(json.dumps(request, ensure_ascii=False) + "\n")
                    file.flush()
                    for text in file:
                        line = json.loads(text)
                        if line.get("done"):
                            return
                        if "error" in line:
                            raise WorkFailed(f"对话出错：{line['error']}", f"the chat failed: {line['error']}")
                        yield line
            raise gone
        except OSError as error:
            raise gone from error
        finally:
            os.close(descriptor)


def worker_for(workspace: Workspace, run: Run | None = None, model: str | None = None) -> Worker:
    """The chat worker for a run (base and tuned) or a model alone; one that runs already, else a new one.

    Raises BadInput where the run has no adapter yet.
    """
    if run is None and model is None:
        raise BadInput("请选择一个训练或模型", "choose a run or a model")
    chosen = models.usable(workspace, model or run.facts["model"]["name"])
    template = run.template if run else prompt_templates()[chosen.prompt_template]
    if run is not None and not run.adapter.exists():
        raise BadInput(f"训练 {run.id} 还没有转换：先导出", f"the run {run.id} has no adapter yet: export it first")
    subject = {"model": chosen.name, "adapter": run.adapter_stamp if run else None}
    with locked(workspace.jobs / ".chat.lock"):
        live = _live(workspace, subject)
        if live is not None:
            return Worker(live, template)
        # One at a time holds the memory of one.
        stop_all(workspace)
        argv = engine_command(workspace, "core.engine.chat_worker", "--base", chosen.path)
        if run is not None:
            argv += ["--adapter", str(run.adapter)]
        job = Job.start(workspace.jobs, "chat", argv, env=engine_environment(workspace), facts=subject)
    return Worker(job, template)


def worker_there(workspace: Workspace, run: Run) -> Worker | None:
    """The chat worker for a run that is loaded or being loaded; None where there is none."""
    if not run.adapter.exists():
        return None
    subject = {"model": run.facts["model"]["name"], "adapter": run.adapter_stamp}
    live = _live(workspace, subject)
    return Worker(live, run.template) if live else None


def _live(workspace: Workspace, subject: dict[str, Any]) -> Job | None:
    """The live worker that holds just this model and adapter."""
    found = (job for job in reversed(jobs_in(workspace.jobs, "chat")) if job.spec.get("facts") == subject)
    return next((job for job in found if job.status().live), None)


def stop_all(workspace: Workspace) -> int:
    """End every chat worker of the workspace; how many there were."""
    live = [job for job in jobs_in(workspace.jobs, "chat") if job.status().live]
    for job in live:
        job.stop(discard=True)
    return len(live)
