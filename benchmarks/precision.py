"""An update in bf16 against one in single precision, on a processor that multiplies bf16: the same run of a real model.

    python -m benchmarks.precision MODEL [--rounds 2] [--keep]

The config is that of the recipe `fast` for one epoch of half of the rows, with each precision in turn. bf16 is trained
with `eager` attention, and so is `fp32`; `usual` is single precision with `sdpa`, as the product trains where the
processor does not multiply bf16. Seconds and CPU seconds of an update, the first left out, are noted inside the trainer;
the losses of both are compared update by update.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import say, spread, write
from benchmarks.peers import ours
from benchmarks.peers.seen import noting, read
from benchmarks.product import Product, Unfit

KINDS = {
    "usual": ("precision=fp32", "attn_implementation=sdpa"),
    "fp32": ("precision=fp32", "attn_implementation=eager"),
    "bf16": ("precision=bf16", "attn_implementation=eager"),
}
FIGURES = ("seconds_a_step", "cpu_seconds_a_step")


def train(product: Product, kind: str, seen: Path, *words: str) -> dict[str, Any]:
    """Train once; return an update's seconds and CPU seconds, what the trainer used, and its losses. Raises Unfit."""
    product("configs", "set", "same", *KINDS[kind])
    noted = Product(product.workspace, {**product.more, **noting(seen)})
    state = noted("train", "start", "same", "--no-early-stop", "--wait", *words)
    if state["status"] != "FINISHED":
        raise Unfit(f"{kind}: {state['status']}: {state['reason']}")
    losses = [point["loss"] for point in product("train", "metrics", state["run"])["points"]]
    return {**read(seen), "losses": losses}


def main() -> None:
    """Train all in turn, the other way round in every second round, and report ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="with the loss that keeps what the base model would say")
    options = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as scratch:
        product = Product(Path(scratch) / "workspace")
        given = ours.same(product, options.model.resolve(), "Xiaoming", epochs=1, small=True)
        for number in range(options.rounds):
            for kind in list(KINDS) if number % 2 == 0 else reversed(KINDS):
                seen = Path(scratch) / f"{kind}-{number}.jsonl"
                runs[kind].append(train(product, kind, seen, *(["--keep"] if options.keep else [])))
                say(f"{kind}: { {key: runs[kind][-1][key] for key in FIGURES} }")
    found: dict[str, Any] = {"model": options.model.name, "rounds": options.rounds, "updates": given.updates}
    for kind, many in runs.items():
        found[kind] = {key: spread([one[key] for one in many]) for key in FIGURES} | {"used": many[-1]["used"]}
        if kind != "bf16":
            pairs = list(zip(runs["bf16"], many, strict=True))
            found[f"bf16_over_{kind}"] = {key: spread([new[key] / old[key] for new, old in pairs]) for key in FIGURES}
    apart = [abs(a - b) for a, b in zip(runs["bf16"][-1]["losses"], runs["fp32"][-1]["losses"], strict=True)]
    write("precision", {**found, "first_loss": runs["fp32"][-1]["losses"][0], "losses_apart_at_most": max(apart)})


if __name__ == "__main__":
    main()
