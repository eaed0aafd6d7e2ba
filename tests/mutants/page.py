"""Draws docs/mutants.md from what the last runs found, kept in results.json, and from the reasons in reasons.toml.

A reason is found by the file and the text of the line that was changed, so it holds wherever that line stands, and no
longer than it stands: `becomes` names the mutants of the line that it is for. Drawn again: `python -m tests.mutants.page`.
"""

import json
import tomllib
from typing import Any

from tests.mutants.chosen import CHOSEN, PROJECT

RESULTS = PROJECT / "tests" / "mutants" / "results.json"
REASONS = PROJECT / "tests" / "mutants" / "reasons.toml"
PAGE = PROJECT / "docs" / "mutants.md"
HEAD = """# Mutants

`make mutants` changes one place at a time in the files that decide most, and runs the tests of that file. A change that no test notices is a survivor: a test that is missing, or a place that decides nothing. `make mutants FILE=core/report/mask.py` does one file; after Ctrl-C the same command continues. It prints beforehand how long it will take. Not part of `make test`.

Which files and tests: `tests/mutants/chosen.py`; which changes: `tests/mutants/kinds.py` (those of [cosmic-ray](https://cosmic-ray.readthedocs.io), and three more). Drawn by the command from `tests/mutants/results.json` and `reasons.toml`.
"""


def results() -> dict[str, dict[str, Any]]:
    """What was found, by file."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def reasons() -> list[dict[str, Any]]:
    """Why survivors are left alive: `file`, `line`, `becomes` (a list) and `why`."""
    return tomllib.loads(REASONS.read_text(encoding="utf-8")).get("reason", []) if REASONS.exists() else []


def reason(file: str, survivor: dict[str, str]) -> str | None:
    """Why this one is left alive."""
    for known in reasons():
        if known["file"] == file and known["line"] == survivor["line"] and survivor["becomes"] in known["becomes"]:
            return known["why"]
    return None


def page() -> str:
    """The page as it should be."""
    found = results()
    lines = [
        HEAD,
        "| file | mutants | killed | timed out | survived | found | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [_row(f"`{file}`", found.get(file)) for file in CHOSEN]
    known = [found[file] for file in CHOSEN if file in found]
    whole = {name: sum(one[name] for one in known) for name in ("mutants", "killed", "timed_out", "seconds")}
    lines.append(_row("all", {**whole, "survived": [s for one in known for s in one["survived"]]}))
    lines += [
        "",
        "Killed: a test failed. Timed out: the tests did not end, which is noticed too. Seconds: of all test runs together.",
    ]
    for file in CHOSEN:
        if found.get(file, {}).get("survived"):
            lines += ["", f"## {file}", "", "| line | becomes | why it is left alive |", "| --- | --- | --- |"]
            for one in found[file]["survived"]:
                lines.append(
                    f"| {_code(one['line'])} | {_code(one['becomes'])} | {reason(file, one) or '**no reason given**'} |"
                )
    return "\n".join(lines) + "\n"


def _row(name: str, found: dict[str, Any] | None) -> str:
    if not found:
        return f"| {name} | not run | | | | | |"
    noticed = found["killed"] + found["timed_out"]
    share = f"{100 * noticed / found['mutants']:.1f} %" if found["mutants"] else ""
    counts = (found["mutants"], found["killed"], found["timed_out"], len(found["survived"]), share, found["seconds"])
    return f"| {name} | " + " | ".join(str(count) for count in counts) + " |"


def _code(text: str) -> str:
    text = text.replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`" if text else ""


def draw() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    draw()
