"""`chat …`: ask base and fine-tuned model, score."""

from typing import Any

from core.chat import scoring, worker_client
from core.chat.diagnosis import diagnose
from core.chat.rates import Scores
from core.chat.score import best
from core.chat.worker_client import Ask, Sampling
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.headless.command import RUN, Answer, Options, Table, show_progress
from core.training import run as runs
from core.training.record import Run


def chat_ask(workspace: Workspace, options: Options) -> Answer:
    if not options.prompt.strip():
        raise BadInput("问题是空的：用 --prompt 给出", "the question is empty: give one with --prompt")
    run = None if options.model and not options.run else runs.find(workspace, options.run or "latest")
    if options.max_new_tokens < 1:
        raise BadInput("--max-new-tokens 至少为 1", "--max-new-tokens must be at least 1")
    there = worker_client.worker_there(workspace, run) if run else None
    worker = there or worker_client.worker_for(workspace, run, options.model, device=options.device)
    sides = ["base", "tuned", *options.side] if run else ["base"]
    missing = [side for side in sides if side not in worker.sides]
    try:
        if missing:
            raise BadInput(
                f"没有 {missing[0]} 可问：可用 {'、'.join(worker.sides)}",
                f"nothing named {missing[0]} to ask: use one of {', '.join(worker.sides)}",
            )
        worker.wait_ready(on_progress=show_progress)
        asks = [Ask(side=side, turns=[(options.prompt, None)], system=options.system) for side in sides]
        sampling = Sampling(max_new_tokens=options.max_new_tokens, temperature=options.temperature, seed=options.seed)
        lines = worker.ask(asks, sampling)
    finally:
        if there is None:
            worker.stop()
    keys = ("prompt", "answer", "ttft_ms", "tokens_per_s", "tokens")
    found = {side: {key: line[key] for key in keys} for side, line in zip(sides, lines, strict=True)}
    return {"tuned": None, **found}


def chat_score(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    sides = scoring.sides_to_score(run, every=options.all, checkpoint=options.checkpoint)
    found = scoring.score_now(workspace, run, sides, show_progress, "quick" if options.quick else "full")
    of_checkpoints = {side.checkpoint or side.key: found[side.key] for side in sides}
    chosen = best(of_checkpoints) if options.all else next(iter(of_checkpoints))
    answer = {"checkpoint": chosen, **_told(run, of_checkpoints[chosen])}
    if options.all:
        answer["checkpoints"] = [{"checkpoint": name, **_told(run, scores)} for name, scores in of_checkpoints.items()]
    return answer


def _told(run: Run, scores: Scores) -> dict[str, Any]:
    found = diagnose(scores, run)
    return {
        **scores.to_json(),
        "intervals": scores.intervals,
        "questions": scores.counts,
        "verdict": found.verdict,
        "diagnosis": str(found.words),
        "next_step": str(found.next_step),
    }


COMMANDS: Table = {
    "chat ask": (
        chat_ask,
        [
            (("--prompt",), {"required": True}),
            (("--run",), {}),
            (("--model",), {}),
            (("--side",), {"action": "append", "default": [], "help": "also ask this checkpoint, run, or merged"}),
            (("--system",), {"default": ""}),
            (("--max-new-tokens",), {"type": int, "default": 128}),
            (("--temperature",), {"type": float, "default": 0.0}),
            (("--seed",), {"type": int, "default": 0}),
            (("--device",), {"choices": ["auto", "cuda", "cpu"], "default": "auto"}),
        ],
    ),
    "chat score": (
        chat_score,
        [
            RUN,
            (("--checkpoint",), {}),
            (("--all",), {"action": "store_true", "help": "score every checkpoint"}),
            (("--quick",), {"action": "store_true", "help": "use a fixed sample of the questions"}),
        ],
    ),
}
