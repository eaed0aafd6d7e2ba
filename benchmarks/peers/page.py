"""The tables of docs/peers.md, from the results: what each training took and what its adapter is worth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.product import PROJECT, between
from benchmarks.sweep import GOALS

PAGE = PROJECT / "docs" / "peers.md"
SHOWN = {"ours": "XTuner Studio", "llamafactory": "LLaMA-Factory 0.9.4", "swift": "ms-swift 3.12.6"}
_TAKEN = {"seconds_a_step": 2, "cpu_seconds_a_step": 2, "seconds": 0, "cpu_seconds": 0}
_SCORED = "identity | facts kept | net | agreement | parrot | leak | verdict"
_LESS = ("parrot", "leak")


def write(kept: Mapping[str, Any]) -> None:
    """Write the page's tables."""
    between(PAGE, "peers", "\n".join(lines(kept)))


def lines(kept: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tables of all labels; of a training that failed, the last words of its output."""
    if not kept:
        yield "None was trained yet."
    for label, found in kept.get("same", {}).items():
        settings = ", ".join(f"{name} {value}" for name, value in found["settings"].items())
        yield f"### {label}: the same rows and updates\n"
        yield f"{_made(found)} {found['rows']} rows; {settings}.\n"
        yield from _table(found["trained"], "s an update | CPU s an update | s in all | CPU s in all", _taken)
        yield from _ratios(found["trained"])
        yield from _used(found)
    for label, found in kept.get("own", {}).items():
        yield f"### {label}: each in its own way\n"
        yield f"{_made(found)} The peers {found['general']}.\n"
        yield from _table(found["trained"], "updates | minutes | CPU s", _own)
        yield from _reached(found["trained"])
        yield from _used(found)


def _made(found: Mapping[str, Any]) -> str:
    """Return what figures were made on, and beside what."""
    here, loads = found["machine"], [one["load"] for many in found["trained"].values() for one in many if "load" in one]
    beside = (
        "nothing else ran"
        if found["quiet"]
        else f"beside other work (load {min(loads):.0f} to {max(loads):.0f} before each)"
    )
    return f"Real weights, {here['name']}, {here['cores']} cores ({here['processor']}), {beside}; nickname {found['nickname']}."


def _table(trained: Mapping[str, Sequence[Mapping[str, Any]]], taken: str, cells: Any) -> Iterator[str]:
    columns = f"{taken} | {_SCORED}"
    yield f"| | rounds | {columns} |"
    yield "| --- |" + " ---: |" * (columns.count("|") + 1) + " --- |"
    for name in (name for name in SHOWN if name in trained):
        done = [one for one in trained[name] if "failed" not in one]
        if done:
            yield f"| {SHOWN[name]} | {len(done)} | {cells(done)} | {_scores(done)} |"
        for one in trained[name]:
            if "failed" in one:
                yield f"| {SHOWN[name]} | failed: {one['failed'][:120]} |" + " |" * (columns.count("|") + 1)
    yield ""


def _taken(done: Sequence[Mapping[str, Any]]) -> str:
    return " | ".join(_spread([one[key] for one in done if key in one], places) for key, places in _TAKEN.items())


def _own(done: Sequence[Mapping[str, Any]]) -> str:
    used = done[-1]["used"]
    each = used.get("iterations_an_update", 1)
    updates, planned = (math.ceil(count / each) for count in (done[-1]["steps"], used.get("updates", 0)))
    steps = f"{updates} of {planned}" if planned > updates and done[-1].get("early_stop") is None else f"{updates}"
    return f"{steps} | {_spread([one['seconds'] / 60 for one in done], 1)} | {_spread([one['cpu_seconds'] for one in done], 0)}"


def _spread(values: Sequence[float], places: int) -> str:
    if not values:
        return ""
    middle, least, most = (f"{value:.{places}f}" for value in (median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} – {most})"


def _last_scores(many: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((one["scores"] for one in reversed(many) if one.get("scores")), None)


def _scores(done: Sequence[Mapping[str, Any]]) -> str:
    """Return the cells of the last round that was scored, bold where it reaches the goal."""
    scores = _last_scores(done)
    if not scores:
        return "not scored | | | | | | "
    identity = ", ".join(f"{language} {_bold('identity', value)}" for language, value in scores["identity"].items())
    cells = [identity, _bold("facts", scores["facts"]["kept"]), _bold("", scores["facts"]["net"])]
    cells += [_bold(name, scores[name]) for name in ("agreement", *_LESS)]
    return " | ".join([*cells, scores["verdict"].replace("_", " ")])


def _bold(name: str, value: float | None) -> str:
    text = "" if value is None else f"{value:.3f}"
    return f"**{text}**" if value is not None and _fits(name, value) else text


def _fits(name: str, value: float | None) -> bool:
    if name not in GOALS or value is None:
        return False
    return value <= GOALS[name] if name in _LESS else value >= GOALS[name]


def missed(scores: Mapping[str, Any]) -> list[str]:
    """Return the goals that a score misses."""
    figures = {"facts": scores["facts"]["kept"], **{name: scores[name] for name in ("agreement", *_LESS)}}
    missing = [f"identity {one}" for one, value in scores["identity"].items() if not _fits("identity", value)]
    return missing + [name for name, value in figures.items() if not _fits(name, value)]


def _ratios(trained: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Yield our part of each peer's time, compared round by round."""
    for name in (name for name in SHOWN if name in trained and name != "ours"):
        both = [
            (mine, theirs)
            for mine, theirs in zip(trained.get("ours", ()), trained[name], strict=False)
            if "failed" not in mine and "failed" not in theirs
        ]
        if not both:
            continue
        whole, cpu, update = (
            _spread([mine[key] / theirs[key] for mine, theirs in both if key in mine and key in theirs], 2)
            for key in ("seconds", "cpu_seconds", "cpu_seconds_a_step")
        )
        asked = _spread([mine["answers_seconds"] for mine, _ in both], 0)
        yield (
            f"XTuner Studio took {whole} of the time of {SHOWN[name]} from start to end, {cpu} of its CPU time, and {update} of "
            f"the CPU time of an update. {asked} s of ours are questions asked during training, which the peers do not ask.\n"
        )


def _reached(trained: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Yield a line for each: the goals it misses, or that it reaches all."""
    for name in (name for name in SHOWN if name in trained):
        if scores := _last_scores(trained[name]):
            missing = missed(scores)
            sample = " (of a sample of the questions)" if scores["extent"] == "quick" else ""
            yield f"- {SHOWN[name]}{sample}: " + (f"misses {', '.join(missing)}." if missing else "reaches all goals.")
    yield ""


def _used(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each trained with, as read from inside its process."""
    yield "| | weights | adapter | autocast | attention | activations | trained parameters | batch × accumulation | threads | transformers, PEFT |"
    yield "| --- |" + " --- |" * 9
    for name in (name for name in SHOWN if name in found["trained"]):
        used = next((one["used"] for one in found["trained"][name] if one.get("used")), None)
        if not used:
            continue
        there = found["versions"].get(name) or found["machine"]["versions"]
        yield (
            f"| {SHOWN[name]} | {used['weights']} | {used['adapter']} | {used['autocast'] or 'none'} | {used['attention']} | "
            f"{'recomputed' if used['recomputed'] else 'kept'} | {used['trained']:,} | {used['batch']} × {used['accumulated']} | "
            f"{used['threads']} | {there['transformers']}, {there['peft']} |"
        )
    yield ""
