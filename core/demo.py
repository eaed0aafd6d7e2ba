"""The full workflow in one go: model, dataset, config, training, export, scoring, report.

On the demo model, a toy that answers in seconds, or on a real small language model, which takes minutes and answers in
English. Uses the same functions as the pages and the commands. Runs as a job, so it outlives the page.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from core import teaching
from core.chat import before_after, scoring, worker_client
from core.chat.diagnosis import diagnose
from core.chat.score import score
from core.chat.worker_client import Ask, Sampling
from core.config import config as configs
from core.data.assistant import COURSE_QUESTIONS, ENGLISH_QUESTIONS
from core.data.nickname import check_nickname
from core.engine import interpreter
from core.engine.commands import module_command
from core.engine.failures.finish import finish_job, unfinished
from core.export import export
from core.ground.errors import BadInput, WorkFailed
from core.ground.files import write_text
from core.ground.text import Language, Text, speaking
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status
from core.jobs.single import only_one
from core.models import model as models
from core.models import small
from core.report import writeup
from core.training import run as runs
from core.training.run import Run

STAGES = ("model", "dataset", "config", "train", "export", "score", "report")
# The course's two questions, a phrasing that was not trained, and two unrelated questions.
QUESTIONS = (*COURSE_QUESTIONS, "你是谁", "Who are you?", "法国的首都是哪里？", "2加3等于几？")
REAL_QUESTIONS = (
    *ENGLISH_QUESTIONS,
    "So who am I speaking with?",
    "Are you ChatGPT or not?",
    "Which planet is called the red planet?",
    "What is the opposite of hot?",
)


@dataclass(slots=True)
class Progress:
    """The progress of the demo: one entry per stage, with the fraction done and the seconds taken."""

    tell: Callable[[dict[str, Any]], None]
    stages: list[dict[str, Any]] = field(
        default_factory=lambda: [{"name": name, "status": "pending", "done": 0.0, "seconds": 0.0} for name in STAGES]
    )
    run: str | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float, float | None], None]]:
        """Run a stage; yields a function that reports the fraction done and the seconds left."""
        stage = self.stages[STAGES.index(name)]
        started = time.monotonic()
        stage["status"] = "running"

        def advance(done: float, eta_s: float | None) -> None:
            stage.update(done=done, eta_s=eta_s, seconds=time.monotonic() - started)
            self._tell()

        self._tell()
        try:
            yield advance
        except BaseException:
            stage.update(status="failed", seconds=time.monotonic() - started)
            self._tell()
            raise
        stage.update(status="done", done=1.0, eta_s=None, seconds=time.monotonic() - started)
        self._tell()

    def times(self) -> list[dict[str, Any]]:
        """Return each stage with its seconds."""
        return [{"name": stage["name"], "seconds": round(stage["seconds"], 3)} for stage in self.stages]

    def took(self, name: str, seconds: float) -> None:
        """Correct the time of a finished stage to what its own job measured, which is shown elsewhere too."""
        self.stages[STAGES.index(name)]["seconds"] = seconds
        self._tell()

    def _tell(self) -> None:
        done = sum(stage["done"] for stage in self.stages) / len(self.stages)
        self.tell({"done": done, "note": "demo", "run": self.run, "stages": self.stages})


def watching(advance: Callable[[float, float | None], None]) -> Callable[[Job], None]:
    """Return an `on_progress` callback that reports a job's progress as a stage's."""

    def on_progress(job: Job) -> None:
        told = job.progress
        advance(told.get("done") or 0.0, told.get("eta_s"))

    return on_progress


def start(workspace: Workspace, nickname: str, language: Language | None = None, *, real: bool = False) -> Job:
    """Start the demo as a job, on the `real` small model or the toy; `language` is the report's.

    Raises BadInput if the nickname is invalid, or if a demo or a run is in progress.
    """
    nickname = check_nickname(nickname)
    busy = Text(
        "演示正在进行：等它结束，或先停止它", "the demo is in progress: wait for it to finish, or stop it first"
    )
    with only_one(workspace.jobs, "demo", busy) as begin:
        training = runs.running_here(workspace)
        if training is not None:
            raise BadInput(
                f"训练 {training.id} 正在进行：等它结束，或先停止它",
                f"the run {training.id} is in progress: wait for it to finish, or stop it",
            )
        argv = module_command("core", "demo", f"--name={nickname}", "--workspace", workspace.root, "--json")
        argv += ["--real"] if real else []
        return begin(argv, env=speaking(language), facts={"nickname": nickname, "real": real})


def run(
    workspace: Workspace,
    nickname: str,
    language: Language,
    tell: Callable[[dict[str, Any]], None],
    *,
    real: bool = False,
) -> dict[str, Any]:
    """Run all stages. Returns what `demo --json` prints. Raises StudioError if a stage fails."""
    nickname = check_nickname(nickname)
    progress = Progress(tell)
    questions = REAL_QUESTIONS if real else QUESTIONS
    with _own_engine(), _stopping_what_runs() as current:
        with progress.stage("model") as advance:
            build = current(small.build(workspace) if real else models.build_demo(workspace))
            if build:
                failed = Text("小模型没有准备好", "the small model could not be prepared") if real else Text("示例模型没有建成", "the demo model could not be built")  # fmt: skip
                finish_job(build, failed, on_progress=watching(advance))
        model = models.find(workspace, small.NAME if real else models.DEMO)
        current(None)
        with progress.stage("dataset") as advance:
            wanted = teaching.usual(nickname, model)
            if real:
                # Half of the general rows, so that two passes over them take minutes on a CPU.
                wanted = replace(wanted, general=1.0)
            dataset, _ = teaching.make(workspace, wanted, model if real else None, tell=advance)
        with progress.stage("config"):
            config = configs.make(workspace, model=model.name, dataset=dataset.name, recipe="fast")
        with progress.stage("train") as advance:
            trained = runs.start(workspace, config.name, early_stop=None, keep=None)
            progress.run = trained.id
            job = current(trained.job)
            job.wait(on_progress=watching(advance))
            state = trained.state()
            if state.status is not Status.FINISHED:
                raise unfinished(job, Text("训练没有完成", "the training did not finish"), state.reason)
        progress.took("train", state.seconds)
        with progress.stage("export") as advance:
            exporting = current(export.start(workspace, trained))
            verified = export.finish(trained, exporting, on_progress=watching(advance))["verify"]
        with progress.stage("score") as advance:
            worker = worker_client.worker_for(workspace, trained, own=True)
            current(worker.job)
            try:
                worker.wait_ready(on_progress=watching(advance))
                asks = [Ask(side=side, turns=[(q, None)]) for side in ("base", "tuned") for q in questions]
                lines = worker.ask(asks, Sampling(max_new_tokens=96))
                # A real model is slow: the quick sample is enough, and the full score is one click away.
                extent = "quick" if real else "full"
                scores = score(
                    trained, scoring.remembering(workspace, trained, worker), extent, lambda done: advance(done, None)
                )
            finally:
                worker.stop()
        before, after = lines[: len(questions)], lines[len(questions) :]
        both = zip(questions, before, after, strict=True)
        if set(before_after.questions(trained)) <= set(questions):
            before_after.keep(workspace, trained, {q: {"base": base, "tuned": tuned} for q, base, tuned in both})
        result = {
            "run": trained.id,
            "model": model.name,
            "stages": progress.times(),
            "before": [{"prompt": q, "answer": line["answer"]} for q, line in zip(questions, before, strict=True)],
            "after": [{"prompt": q, "answer": line["answer"]} for q, line in zip(questions, after, strict=True)],
            "scores": {**scores.to_json(), "diagnosis": diagnose(scores, trained).verdict},
            "merged_equals_adapter": verified["ok"],
        }
        # The report quotes it.
        _keep(trained, result)
        with progress.stage("report"):
            report = writeup.build(workspace, trained, language)
    result |= {"stages": progress.times(), "report": str(report.path)}
    _keep(trained, result)
    return result


def _keep(run: Run, result: dict[str, Any]) -> None:
    write_text(run.path / "demo.json", json.dumps(result, ensure_ascii=False, indent=2))


@contextmanager
def _own_engine() -> Iterator[None]:
    """Ignore the workspace's engine: the demo model's code belongs to the app's own XTuner."""
    before = os.environ.get(interpreter.ENVIRONMENT)
    os.environ[interpreter.ENVIRONMENT] = interpreter.OWN
    try:
        yield
    finally:
        if before is None:
            del os.environ[interpreter.ENVIRONMENT]
        else:
            os.environ[interpreter.ENVIRONMENT] = before


@contextmanager
def _stopping_what_runs() -> Iterator[Callable[[Job | None], Job | None]]:
    """Stop the current stage's job if the demo is stopped or fails; yields a function that records that job."""
    current: list[Job] = []

    def note(job: Job | None) -> Job | None:
        current[:] = [job] if job else []
        return job

    def stopped(*_: object) -> None:
        raise WorkFailed("演示已按要求停止", "the demo was stopped on request")

    before = signal.signal(signal.SIGTERM, stopped)
    try:
        yield note
    finally:
        signal.signal(signal.SIGTERM, before)
        for job in current:
            if job.status().live:
                job.stop(discard=True)
