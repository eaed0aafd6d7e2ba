"""What the `course` and the `balanced` data teach the demo model: identity, retention and parrot rate of every checkpoint.

    python -m benchmarks.identity --workspace DIR [--name NICK]     trains both there and writes docs/identity.md

Both are trained by the same recipe (`fast`) on the same number of rows; scored by `chat score --all`. A run that is in
the workspace already is not trained again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import say

PROJECT = Path(__file__).parents[1]
# As many rows as `balanced` has, nearly.
N = 136


def command(workspace: str, *words: str) -> dict[str, Any]:
    """`python -m core …`; its JSON."""
    argv = [sys.executable, "-m", "core", *words, "--workspace", workspace, "--json"]
    done = subprocess.run(argv, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def scored(workspace: str, recipe: str, name: str) -> dict[str, Any]:
    """Train on the data of a recipe and score every checkpoint."""
    dataset = f"identity-{recipe}"
    there = {run["run"] for run in command(workspace, "train", "list")["runs"]}
    run = next((one for one in there if one.endswith(dataset)), None)
    if run is None:
        more = ["--n", str(N)] if recipe == "course" else []
        command(workspace, "datasets", "assistant", "--name", name, "--recipe", recipe, "--out", dataset, *more)
        command(
            workspace, "configs", "new", "--model", "demo", "--dataset", dataset, "--recipe", "fast", "--out", dataset
        )
        run = command(workspace, "train", "start", dataset, "--wait")["run"]
    say(f"{recipe}: {run}")
    return command(workspace, "chat", "score", run, "--all")


def line(recipe: str, found: dict[str, Any]) -> str:
    """A row of the table: each rate with its 95 % interval."""
    cells = []
    for rate in ("identity", "retention", "parrot"):
        low, high = found["intervals"][rate]
        cells.append(f"{100 * found[rate]['tuned']:.0f} % ({100 * low:.0f} – {100 * high:.0f})")
    return f"| `{recipe}` | {found['checkpoint']} | {' | '.join(cells)} | {found['verdict'].replace('_', ' ')} |"


def main() -> None:
    """Train, score, write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--name", default="小明")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "identity.md")
    options = parser.parse_args()
    results = {recipe: scored(options.workspace, recipe, options.name) for recipe in ("course", "balanced")}
    counts = results["course"]["questions"]
    chosen = ", ".join(f"`{recipe}` {found['checkpoint']}" for recipe, found in results.items())
    lines = [
        "# What the two datasets teach",
        "",
        "Made by `python -m benchmarks.identity` on the demo model (InternLM2's architecture, tiny, on a CPU), not on a",
        "real InternLM2. Both datasets are trained by the same recipe (`fast`) on nearly the same number of rows:",
        "`course` is the course's two conversations over and over, `balanced` many phrasings and general rows beside",
        f"them. Every checkpoint then answers {counts['identity']} identity questions and {counts['retention']} general",
        "ones that were in neither. In brackets: the 95 % interval (Wilson) for so many questions.",
        "",
        "| data | checkpoint | identity | retention | parrot | diagnosis |",
        "| --- | --- | --- | --- | --- | --- |",
        *(line(recipe, one) for recipe, found in results.items() for one in found["checkpoints"]),
        "",
        "**identity**: the answer carries nickname and role. **retention**: a general answer is still the base model's.",
        "**parrot**: a general question is answered with the identity. The best checkpoint of each is chosen by identity +",
        f"retention − 2 · parrot: {chosen}.",
    ]
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
