"""The rows by which each peer documents to teach an identity, from copies of its files; none of them is kept here.

LLaMA-Factory's are `data/identity.json` and `data/alpaca_en_demo.json` of its repository. ms-swift's `swift/self-cognition`
is on a hub: any copy of `self_cognition.jsonl` will do, and where its answers begin with a thinking part, as they do in
those made for models that think, the part is left out.
"""

import json
import re
from pathlib import Path

from benchmarks.peers.peer import Turn

_THINKING = re.compile(r"^<think>.*?</think>\s*", re.S)


def identity(file: Path, name: str, author: str) -> list[Turn]:
    """Return LLaMA-Factory's identity rows with name and author replaced, as its documentation says."""
    text = file.read_text(encoding="utf-8").replace("{{name}}", name).replace("{{author}}", author)
    return [Turn(question=row["instruction"], answer=row["output"]) for row in json.loads(text)]


def cognition(file: Path) -> list[Turn]:
    """Return ms-swift's self-cognition rows; it replaces the names itself, by `--model_name` and `--model_author`."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Turn(question=row["query"], answer=_THINKING.sub("", row["response"]), language=row["tag"]) for row in rows]


def general(file: Path) -> list[Turn]:
    """Return general rows in Alpaca's form."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    return [
        Turn(question="\n".join(filter(None, (row["instruction"], row["input"]))), answer=row["output"]) for row in rows
    ]
