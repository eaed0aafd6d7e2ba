"""The same training with its peers, LLaMA-Factory and ms-swift, each in an environment of its own on this machine.

    python -m benchmarks.peers install [NAME …] [--peers DIR]
    python -m benchmarks.peers run MODEL [NAME …] [--peers DIR] [--rounds R] [--epochs E] [--small] [--label L]
    python -m benchmarks.peers own MODEL [NAME …] --identity FILE --cognition FILE [--general FILE] [--peers DIR]
    python -m benchmarks.peers table                                          docs/peers.md

`run`: all get the same rows (of `datasets assistant` for MODEL, with built-in answers), batch size, rank, learning rate and number of updates;
everything else is each one's default, read from inside its process and listed in the table. They train in turn, the
other way round in every second round, so that whatever else the machine does meets all of them.

`own`: each makes a model that knows its name in its own documented way (`WAYS`), on the rows that its example takes, and
with --general on the general rows of the example too. Ours is `datasets assistant` with the recipe `fast` as it is, from
building the dataset with the model's own answers to the end.

Seconds and CPU seconds are those of all processes that a training starts, from the first command to the end of the
last process. Each adapter is judged by our own score.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS, commit, machine, say
from benchmarks.peers import environments, ours, page, rows
from benchmarks.peers.environments import PEERS
from benchmarks.peers.peer import COMMANDS, train
from benchmarks.peers.spent import Failed, spent
from benchmarks.product import PROJECT, Product, Unfit
from core.ground.files import read_json, write_json
from core.ground.gpu import gpus
from core.ground.workspace import Workspace

RESULT = RESULTS / "peers.json"
# Our settings by the names that both peers use.
SAME = {
    "batch_size": "per_device_train_batch_size",
    "r": "lora_rank",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "lr": "learning_rate",
    "warmup_ratio": "warmup_ratio",
    "max_length": "max_length",
}
# LLaMA-Factory's examples/train_lora for supervised fine-tuning, ms-swift's example of self-cognition.
WAYS: dict[str, dict[str, Any]] = {
    "llamafactory": {
        "lora_rank": 8, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8, "learning_rate": 1e-4,
        "num_train_epochs": 3, "warmup_ratio": 0.1, "max_length": 2048, "max_samples": 1000,
        "bf16": True,
    },
    "swift": {
        "lora_rank": 8, "lora_alpha": 32, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 16,
        "learning_rate": 1e-4, "num_train_epochs": 1, "warmup_ratio": 0.05, "max_length": 2048,
        "torch_dtype": "bfloat16", "max_samples": 500,
    },
}  # fmt: skip
# Both refuse bfloat16 on a CPU.
ON_CPU: dict[str, dict[str, Any]] = {"llamafactory": {"bf16": False}, "swift": {"torch_dtype": "float32"}}
Work = Callable[[Path], dict[str, Any]]


def run(options: argparse.Namespace) -> int:
    """Train ours and each peer in turn, `rounds` times; score the last."""
    with tempfile.TemporaryDirectory() as scratch:
        product = Product(options.workspace or Path(scratch) / "workspace")
        given = ours.same(product, options.model, options.nickname, epochs=options.epochs, small=options.small)
        settings = {name: given.values[name] for name in SAME} | {"updates": given.updates}
        for_peers = {
            **{theirs: given.values[name] for name, theirs in SAME.items()},
            "gradient_accumulation_steps": 1,
            "max_steps": given.updates,
        }

        def peer(name: str) -> Work:
            return lambda out: train(
                name,
                options.peers / name,
                COMMANDS[name](options.model, {"same": given.turns}, for_peers, out),
                out,
            )

        works: dict[str, Work] = {
            "ours": lambda out: ours.start(product, given.config, out / "seen.jsonl", "--no-early-stop"),
            **{name: peer(name) for name in options.names},
        }

        def score(trained: dict[str, dict[str, Any]]) -> None:
            if not options.no_score:
                ours.score(Workspace(product.workspace), trained, options.extent, None)

        more = {"rows": len(given.turns), "settings": settings}
        _rounds(works, options, product, Path(scratch), score, partial(_keep, options, "same", more))
    return 0


def own(options: argparse.Namespace) -> int:
    """Have each make a model that knows its name in its own documented way; score each."""
    name, author = f"{options.nickname}'s assistant", options.nickname
    taught = {
        "llamafactory": lambda: {"identity": rows.identity(options.identity, name, author)},
        # Its documented name: a directory of it is read as the hub's dataset.
        "swift": lambda: {"self-cognition": rows.cognition(options.cognition)},
    }
    named = {"swift": {"model_name": name, "model_author": author}}
    with tempfile.TemporaryDirectory() as scratch:
        product = Product(options.workspace or Path(scratch) / "workspace")

        def peer(name: str) -> Work:
            datasets = taught[name]()
            if options.general:
                datasets["general"] = rows.general(options.general)
            way = {
                **WAYS[name],
                **({} if gpus() else ON_CPU[name]),
                **named.get(name, {}),
                **({"max_steps": options.updates} if options.updates else {}),
            }
            return lambda out: train(name, options.peers / name, COMMANDS[name](options.model, datasets, way, out), out)

        works: dict[str, Work] = {} if options.by else {"ours": lambda out: _own_way(product, options, out)}
        works |= {name: peer(name) for name in options.names}

        def score(trained: dict[str, dict[str, Any]]) -> None:
            ours.score(Workspace(product.workspace), trained, options.extent, options.by)

        more = {"general": "with general rows" if options.general else "on their identity rows alone"}
        _rounds(works, options, product, Path(scratch), score, partial(_keep, options, "own", more))
    return 0


def _own_way(product: Product, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Ours: the dataset with the model's own answers, and the recipe `fast`, which ends by itself."""
    model = product("models", "link", str(options.model))["name"]
    made = product("datasets", "assistant", "--name", options.nickname, "--model", model, "--out", "own")
    product("configs", "new", "--model", model, "--dataset", "own", "--recipe", "fast", "--out", "own")
    return {"rows": made["rows"], **ours.start(product, "own", out / "seen.jsonl")}


def _rounds(
    works: Mapping[str, Work],
    options: argparse.Namespace,
    product: Product,
    scratch: Path,
    score: Callable[[dict[str, dict[str, Any]]], None],
    keep: Callable[[dict[str, dict[str, Any]]], None],
) -> None:
    """Do all in turn, the other way round in every second round; score the last round and keep each."""
    for number in range(options.rounds):
        trained: dict[str, dict[str, Any]] = {}
        for name in list(works) if number % 2 == 0 else reversed(works):
            out = scratch / f"{name}-{number}"
            out.mkdir()
            try:
                trained[name] = spent(lambda name=name, out=out: works[name](out))
                if name == "ours":
                    trained[name] |= ours.finished(product, trained[name]["run"], out / "seen.jsonl")
            except (Failed, Unfit, subprocess.CalledProcessError) as error:
                trained[name] = {"failed": str(error)[:300]}
            say(
                f"{name}, round {number + 1}: { {key: trained[name][key] for key in trained[name] if key != 'adapter'} }"
            )
        if number == options.rounds - 1:
            score({name: one for name, one in trained.items() if "failed" not in one})
        keep(trained)


def _keep(
    options: argparse.Namespace, kind: str, more: Mapping[str, Any], trained: Mapping[str, dict[str, Any]]
) -> None:
    """Store a round under its label, after those that were made with the same settings before."""
    for one in trained.values():
        one.pop("adapter", None)
        one.pop("run", None)
    made = {"nickname": options.nickname, "quiet": options.quiet, **more}
    kept = read_json(RESULT) or {}
    label = options.label or options.model.name
    there = kept.setdefault(kind, {}).get(label, {})
    before = there.get("trained", {}) if all(there.get(key) == value for key, value in made.items()) else {}
    known = there.get("versions", {})
    kept[kind][label] = {
        "machine": machine(),
        "commit": commit(),
        "versions": known | {name: environments.versions(name, options.peers) for name in trained if name in PEERS},
        **made,
        "trained": before | {name: [*before.get(name, ()), one] for name, one in trained.items()},
    }
    write_json(RESULT, kept)


def main() -> int:
    """Run the requested command; return 0 on success."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    installing, running = commands.add_parser("install"), commands.add_parser("run")
    by_itself = commands.add_parser("own")
    for one in (running, by_itself):
        one.add_argument("model", type=lambda text: Path(text).resolve())
        one.add_argument("--nickname", default="Xiaoming")
        one.add_argument("--label", help="default: the model's name")
        one.add_argument("--workspace", type=Path, help="default: one that is thrown away")
        one.add_argument("--quiet", action="store_true", help="nothing else runs on this machine: say so in the table")
        one.add_argument(
            "--quick", dest="extent", action="store_const", const="quick", default="full", help="score with a sample"
        )
    running.add_argument("--rounds", type=int, default=2)
    running.add_argument("--epochs", type=int, default=1)
    running.add_argument("--small", action="store_true", help="about half of the rows")
    running.add_argument("--no-score", action="store_true")
    # Ours asks the model for its answers once.
    by_itself.set_defaults(rounds=1)
    by_itself.add_argument("--identity", type=Path, help="LLaMA-Factory's data/identity.json")
    by_itself.add_argument("--cognition", type=Path, help="a copy of ms-swift's self_cognition.jsonl")
    by_itself.add_argument("--updates", type=int, help="end the peers after so many: to try the script")
    by_itself.add_argument("--general", type=Path, help="LLaMA-Factory's data/alpaca_en_demo.json")
    by_itself.add_argument(
        "--by", metavar="RUN", help="train only the peers, and score them as this run of the workspace"
    )
    for one, work in ((running, run), (by_itself, own)):
        one.set_defaults(work=work)
    installing.set_defaults(work=lambda options: environments.install(options.names, options.peers))
    for one in (installing, running, by_itself):
        one.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}; default: all")
        one.add_argument("--peers", type=lambda text: Path(text).resolve(), default=PROJECT / ".peers")
    commands.add_parser("table").set_defaults(work=lambda _: page.write(read_json(RESULT) or {}))
    options = parser.parse_args()
    if unknown := set(getattr(options, "names", None) or ()) - set(PEERS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if "names" in options:
        options.names = options.names or list(PEERS)
    return options.work(options) or 0


if __name__ == "__main__":
    raise SystemExit(main())
