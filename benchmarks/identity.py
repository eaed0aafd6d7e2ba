"""What the data of `course` and `balanced` teach the demo model: identity, retention and parroting of each checkpoint.

    python -m benchmarks.identity --workspace DIR [--name NICK]     trains both there and writes its part of docs/identity.md

Both are trained with the recipe `fast` on the same number of rows, with the same number of updates: once with the
recipe's learning rate, once with five times that, which overfits. Scored by `chat score --all`. An existing run in the
workspace is not repeated.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.measure import say
from benchmarks.product import PROJECT, Product, between

# Nearly as many rows as `balanced` has.
N = 136
# The recipe's learning rate for such a small model is 0.002.
RATES = ("0.002", "0.01")


def scored(product: Product, recipe: str, rate: str, name: str) -> dict[str, Any]:
    """Train on the data of a recipe and score every checkpoint."""
    dataset = f"identity-{recipe}"
    config = dataset if rate == RATES[0] else f"{dataset}-lr-{rate.replace('.', '-')}"
    there = {run["run"] for run in product("train", "list")["runs"]}
    run = next((one for one in there if one.endswith(f"-{config}")), None)
    if run is None:
        if dataset not in {one["name"] for one in product("datasets", "list")["datasets"]}:
            more = ["--n", str(N)] if recipe == "course" else []
            product("datasets", "assistant", "--name", name, "--recipe", recipe, "--out", dataset, *more)
        made = ["--model", "demo", "--dataset", dataset, "--recipe", "fast", "--set", f"lr={rate}", "--out", config]
        product("configs", "new", *made)
        run = product("train", "start", config, "--wait")["run"]
    say(f"{recipe}, learning rate {rate}: {run}")
    return product("chat", "score", run, "--all")


def line(recipe: str, rate: str, found: dict[str, Any]) -> str:
    """Return a row of the table: each rate with its 95 % interval."""
    cells = []
    for share in ("identity", "retention", "parrot"):
        low, high = found["intervals"][share]
        cells.append(f"{100 * found[share]['tuned']:.0f} % ({100 * low:.0f} – {100 * high:.0f})")
    return (
        f"| `{recipe}` | {rate} | {found['checkpoint']} | {' | '.join(cells)} | {found['verdict'].replace('_', ' ')} |"
    )


def main() -> None:
    """Train, score, write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--name", default="小明")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "identity.md")
    options = parser.parse_args()
    results = {
        (recipe, rate): scored(Product(options.workspace), recipe, rate, options.name)
        for rate in RATES
        for recipe in ("course", "balanced")
    }
    counts = results["course", RATES[0]]["questions"]
    chosen = ", ".join(f"`{recipe}` at {rate} {found['checkpoint']}" for (recipe, rate), found in results.items())
    lines = [
        "Made by `python -m benchmarks.identity` on the demo model (InternLM2's architecture, tiny, on a CPU), not on a",
        "real InternLM2. Both datasets are trained by the same recipe (`fast`) on nearly the same number of rows and with",
        "the same number of optimizer updates, with the recipe's learning rate and with one five times as high:",
        "`course` is the course's two conversations over and over, `balanced` many phrasings and general rows beside",
        f"them. Every checkpoint then answers {counts['identity']} identity questions and {counts['retention']} general",
        "ones that were in neither. In brackets: the 95 % interval (Wilson) for so many questions.",
        "",
        "| data | learning rate | checkpoint | identity | retention | parrot | diagnosis |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(line(recipe, rate, one) for (recipe, rate), found in results.items() for one in found["checkpoints"]),
        "",
        "**identity**: the answer carries nickname and role. **retention**: a general answer is still the base model's.",
        "**parrot**: a general question is answered with the identity. The best checkpoint of each is chosen by identity +",
        f"retention − 2 · parrot: {chosen}.",
        "",
        "One training of each. Trained again on another machine, rates moved by more than these intervals, which are of the "
        "questions alone.",
        "",
        "What `course` loses depends on the learning rate: compare the rows of 0.002, which is the recipe's, with those of 0.01.",
    ]
    between(options.out, "demo", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
