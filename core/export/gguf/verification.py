"""Verifies with llama.cpp that a GGUF file answers like the merged model it was made from.

The merged model's tokens come from its own verification: the same questions, greedily. Needs no torch.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.export.gguf.server import LlamaCpp, Said

# Log-probabilities closer than this are a tie that rounding to half precision may decide.
TIE = 0.1
_ROOM = 64


def verify(
    file: Path, place: Path, plan: dict[str, Any], exact: bool, on_done: Callable[[float], None]
) -> dict[str, Any]:
    """Ask the GGUF `file`, through the llama.cpp at `place`, the questions in `plan["reference"]`.

    `plan` has `reference` (a list of `text`, `prompt` and `answer` in tokens, and the answer's text `said`), `stops`,
    `exchanges` (`messages` and their `text`), `nickname`, `own` (how many of the questions are the run's own) and
    `scored` (further questions for a quantized file: `question`, the prompt's `text`, the `most` tokens of an answer).

    Returns `same_prompts` (llama.cpp tokenizes prompts as in training), `same_chat` (so does its chat template; None
    without one), `same_tokens` of all answers, `near_ties`, `share` (of the merged model's tokens, those before the
    answers diverge), `nickname` (how many of the run's own questions are answered with it), `scored` (each further
    `question` with its `answer`, to be judged elsewhere), and `ok`: for an `exact` file that the answers are the same,
    for a quantized one that the nickname is not lost.
    """
    begun = time.monotonic()
    reference, stops = plan["reference"], set(plan["stops"])
    most = max(len(one["answer"]) for one in reference)
    longest = max(len(one["prompt"]) for one in reference)
    # A token is at least one byte.
    longest = max([longest, *(len(one["text"].encode()) for one in plan.get("scored", []))])
    most = max([most, *(one["most"] for one in plan.get("scored", []))])
    model = LlamaCpp(file, place, longest + most + _ROOM)
    same_prompts = all(model.tokens(one["text"]) == one["prompt"] for one in reference)
    same_chat = _same_chat(model, plan["exchanges"]) if plan["exchanges"] else None
    answers, same, ties, kept, whole = [], 0, 0, 0, 0
    further = [] if exact else plan.get("scored", [])
    asks = len(reference) + len(further)
    for number, one in enumerate(reference, 1):
        wanted = [token for token in one["answer"] if token not in stops]
        ended = len(wanted) < len(one["answer"])
        said = model.answer(one["prompt"], len(one["answer"]))
        # llama.cpp also returns the token that ended an answer.
        said = replace(said, tokens=[token for token in said.tokens if token not in stops])
        at = _parted(wanted, ended, said)
        kept, whole = kept + (len(wanted) if at is None else at), whole + len(wanted)
        if at is None:
            same += 1
        else:
            over = at == len(wanted)
            ties += model.leans(
                one["prompt"] + wanted[:at], list(stops) if over else wanted[at : at + 1], TIE, ends=over
            )
        answers.append({"merged": one["said"], "gguf": said.text})
        on_done(number / asks)
    scored = []
    for number, one in enumerate(further, len(reference) + 1):
        said = model.answer(model.tokens(one["text"]), one["most"])
        scored.append({"question": one["question"], "answer": said.text})
        on_done(number / asks)
    nickname = _with_nickname(answers, plan["nickname"], plan["own"])
    alike = same + ties == len(reference) if exact else nickname is None or nickname["gguf"] >= nickname["merged"]
    return {
        "same_prompts": same_prompts,
        "same_chat": same_chat,
        "same_tokens": same == len(reference),
        "near_ties": ties,
        "prompts": len(reference),
        "share": kept / whole if whole else 1.0,
        "nickname": nickname,
        "answers": answers,
        "scored": scored,
        "exact": exact,
        "ok": same_prompts and same_chat is not False and alike,
        "seconds": time.monotonic() - begun,
        "made": time.time(),
    }


def _same_chat(model: LlamaCpp, exchanges: list[dict[str, Any]]) -> bool:
    """Return whether llama.cpp renders conversations with the file's chat template as in training."""
    return all(model.tokens(model.rendered(one["messages"])) == model.tokens(one["text"]) for one in exchanges)


def _parted(wanted: list[int], ended: bool, said: Said) -> int | None:
    """Return the number of tokens after which two answers diverge; None if they do not."""
    at = next((n for n, (one, two) in enumerate(zip(wanted, said.tokens, strict=False)) if one != two), None)
    if at is not None:
        return at
    if len(wanted) == len(said.tokens) and (said.ended or not ended):
        return None
    return min(len(wanted), len(said.tokens))


def _with_nickname(answers: list[dict[str, str]], nickname: str | None, own: int) -> dict[str, int] | None:
    """Count the run's own questions answered with the nickname, by the merged model and by the file."""
    if not nickname or not own:
        return None
    counted = {side: sum(nickname in one[side] for one in answers[:own]) for side in ("merged", "gguf")}
    return {**counted, "of": own}
