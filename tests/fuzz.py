"""Files that were damaged at random are imported: each gives rows or a refusal in words, quickly, and leaves nothing.

`make fuzz`, or `COUNT=n SEED=n SECONDS=n python -m tests.fuzz`: so many files at most, from this seed on, in this time.
"""

import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import openpyxl
import pyarrow
import pyarrow.parquet

from core.data import corpus, intake
from core.ground.errors import StudioError
from core.ground.workspace import Workspace

COUNT, SEED, SECONDS = (
    int(os.environ.get(name, usual)) for name, usual in (("COUNT", 2000), ("SEED", 1), ("SECONDS", 300))
)
MOST_SECONDS = 10.0
# What a library says is no sentence of ours.
FOREIGN = re.compile(r"Expecting|Traceback|codec can't|object has no|Errno|\bline \d+ column \d+ \(char|<class|Error\b")
ASK, SAY = {"role": "user", "content": "几点开门？"}, {"role": "assistant", "content": "九点。"}
RECORDS = (
    {"messages": [ASK, {**SAY, "reasoning_content": "想", "weight": 0}], "tools": [{"name": "f"}]},
    {"conversations": [{"from": "human", "value": "<image>\n这"}, {"from": "gpt", "value": "猫"}], "image": "a.png"},
    {"instruction": "译", "input": float("nan"), "output": 3, "history": [["a", "b"]], "解析": "x"},
    {"prompt": "q", "chosen": [ASK, SAY], "rejected": [ASK, SAY], "label": False},
    {"question": ["a", "b"], "answers": [{"text": "x", "score": 1}, {"text": "y", "score": 2}]},
    {"text": "### Human: 你好### Assistant: 好<|im_end|>"},
    {"speaker": "甲", "content": "在吗 13800138000", "time": "2025-01-02 10:00"},
    {"meta_instruction": "s", "chat": {"turn_1": {"Human": "<|Human|>: a<eoh>", "MOSS": "<|MOSS|>: b<eom>"}}},
)
TEXTS = {
    "x.csv": '标题\n\n问题,答案,备注\n几点,"九,点",x\n公式,=SUM(A1),y\n',
    "x.tsv": "question\tanswer\na\tb\n",
    "x.txt": "问：几点？\n答：九点。\n\n2025-01-02 10:00 小明(1)\n在吗\n",
    "x.md": "# 几点？\n九点。\n\n# 哪里？\n北街。\n",
    "x.html": "<html><p title='a>b'>问：几点？<br>答：九点。</p><script>x</script><!-- c --></html>",
}


def seeds(directory: Path, rng: random.Random) -> Path:
    """A file of some kind that is as it should be."""
    kind = rng.choice(("json", "jsonl", "xlsx", "parquet", *TEXTS))
    if kind in TEXTS:
        (directory / kind).write_text(
            TEXTS[kind] * rng.randint(1, 4), encoding=rng.choice(("utf-8", "gb18030", "utf-16"))
        )
        return directory / kind
    path = directory / f"x.{kind}"
    rows = rng.choices(RECORDS, k=rng.randint(1, 5))
    if kind == "json":
        path.write_text(json.dumps(rows, ensure_ascii=False, indent=rng.choice((None, 1))), encoding="utf-8")
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    elif kind == "xlsx":
        book = openpyxl.Workbook()
        for row in (["表"], ["问题", "答案"], ["几点", 9], [None, True], ["公式", "=1+1"]):
            book.active.append(row)
        book.active.merge_cells("A3:A4")
        book.save(path)
    else:
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist([{"question": "a", "answer": str(row)} for row in rows]), path
        )
    return path


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The same bytes, damaged in a few places."""
    found = bytearray(data)
    words = (b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"\0", b"\xff", b"<|", b"null", b"NaN", b"1e999", "“".encode(),
             b"<a ", b"=cmd|' /C x'!A0", b"\\ud83d", "问：".encode())  # fmt: skip
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(found) + 1)
        what = rng.random()
        if what < 0.4:
            found[at:at] = rng.choice(words) * rng.choice((1, 1, 1, 50))
        elif what < 0.6:
            del found[at : at + rng.choice((1, 2, 9, 200))]
        elif what < 0.8 and at < len(found):
            found[at] = rng.randrange(256)
        else:
            end = min(len(found), at + rng.randint(1, 60))
            found[at:at] = found[at:end] * rng.choice((1, 3))
    return bytes(found)


def trial(number: int) -> str | None:
    """Import one damaged file; what is wrong with how that went."""
    rng = random.Random(number)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        path = seeds(directory, rng)
        path.write_bytes(mutate(path.read_bytes(), rng))
        workspace = Workspace.open(directory / "workspace")
        began = time.monotonic()
        for work in (
            lambda: intake.peek(path),
            lambda: intake.import_file(workspace, path),
            lambda: corpus.make(workspace, [path]),
        ):
            try:
                work()
            except StudioError as refused:
                said = refused.text.zh + refused.text.en
                if FOREIGN.search(said):
                    return f"{path.name}: a library speaks: {said[:300]}"
                left = list(workspace.datasets.glob(".making*")) if workspace.datasets.exists() else []
                if left:
                    return f"{path.name}: something is left: {left}"
            except Exception as error:  # noqa: BLE001 - what is looked for
                return f"{path.name}: {type(error).__name__}: {str(error)[:300]}"
        if time.monotonic() - began > MOST_SECONDS:
            return f"{path.name}: took {time.monotonic() - began:.0f} s"
    return None


def main() -> int:
    """Try so many; the failures by their seed, which repeats them."""
    began, failures, tried = time.monotonic(), 0, 0
    for number in range(SEED, SEED + COUNT):
        if time.monotonic() - began > SECONDS:
            break
        tried += 1
        wrong = trial(number)
        if wrong:
            failures += 1
            print(f"SEED={number} COUNT=1: {wrong}", flush=True)
    print(f"{tried} files in {time.monotonic() - began:.0f} s, {failures} failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
