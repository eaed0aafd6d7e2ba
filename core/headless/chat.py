"""`chat …`: ask both sides, score."""

from core.chat import compare
from core.chat.compare import Ask, Sampling
from core.chat.diagnosis import diagnose
from core.chat.score import score
from core.export import export
from core.ground.workspace import Workspace
from core.headless.command import RUN, Answer, Options, Table, show_progress
from core.training import run as runs


def chat_ask(workspace: Workspace, options: Options) -> Answer:
    run = None if options.model and not options.run else runs.find(workspace, options.run or "latest")
    sides = ("base", "tuned") if run else ("base",)
    worker = compare.worker_for(workspace, run, options.model).wait_ready(on_progress=show_progress)
    try:
        asks = [Ask(side=side, turns=[(options.prompt, None)]) for side in sides]
        lines = worker.ask(asks, Sampling(max_new_tokens=options.max_new_tokens))
    finally:
        worker.stop()
    keys = ("answer", "ttft_ms", "tokens_per_s")
    found = {side: {key: line[key] for key in keys} for side, line in zip(sides, lines, strict=True)}
    return {"base": found["base"], "tuned": found.get("tuned")}


def chat_score(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    if options.checkpoint or export.exported(run).adapter is None:
        export.finish(run, export.start(workspace, run, ["convert"], options.checkpoint), on_progress=show_progress)
    worker = compare.worker_for(workspace, run).wait_ready(on_progress=show_progress)
    try:
        scores = score(run, worker)
    finally:
        worker.stop()
    found = diagnose(scores)
    return {**scores.to_json(), "diagnosis": str(found.words), "next_step": str(found.next_step)}


COMMANDS: Table = {
    "chat ask": (
        chat_ask,
        [
            (("--prompt",), {"required": True}),
            (("--run",), {}),
            (("--model",), {}),
            (("--max-new-tokens",), {"type": int, "default": 128}),
        ],
    ),
    "chat score": (chat_score, [RUN, (("--checkpoint",), {})]),
}
