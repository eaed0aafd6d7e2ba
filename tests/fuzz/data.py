"""Randomly damaged datasets and documents are imported: each gives rows or a refusal with a message."""

import json
import random
import zipfile
from pathlib import Path

import openpyxl
import pyarrow
import pyarrow.parquet
from fpdf import FPDF

from core.data import corpus, intake
from core.ground.workspace import Workspace
from tests.fuzz.damage import mutate, refusal

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


def docx(path: Path) -> None:
    """Write a Word document with two paragraphs and a table."""
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    lines = "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in ("几点开门？", "九点。"))
    body = f"{lines}<w:tbl><w:tr><w:tc>{lines}</w:tc></w:tr></w:tbl>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", f"<w:document {space}><w:body>{body}</w:body></w:document>")


def pdf(path: Path) -> None:
    """Write two pages of text, uncompressed, so that damage reaches the content."""
    document = FPDF()
    document.set_compression(False)
    document.set_font("helvetica")
    for text in ("When do you open?", "At nine."):
        document.add_page()
        document.cell(text=text)
    document.output(str(path))


def packed(path: Path) -> None:
    """Write a zip of texts."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in TEXTS.items():
            archive.writestr(f"docs/{name}", text)


DOCUMENTS = {"docx": docx, "pdf": pdf, "zip": packed}


def sound(directory: Path, rng: random.Random) -> Path:
    """Return a valid file of a random kind."""
    kind = rng.choice(("json", "jsonl", "xlsx", "parquet", *DOCUMENTS, *TEXTS))
    if kind in TEXTS:
        (directory / kind).write_text(
            TEXTS[kind] * rng.randint(1, 4), encoding=rng.choice(("utf-8", "gb18030", "utf-16"))
        )
        return directory / kind
    path = directory / f"x.{kind}"
    if kind in DOCUMENTS:
        DOCUMENTS[kind](path)
        return path
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


def trial(directory: Path, rng: random.Random) -> None:
    """Import one damaged file in each way; raises what is wrong."""
    path = sound(directory, rng)
    path.write_bytes(mutate(path.read_bytes(), rng))
    workspace = Workspace.open(directory / "workspace")
    for work in (
        lambda: intake.peek(path),
        lambda: intake.import_file(workspace, path),
        lambda: corpus.make(workspace, [path]),
    ):
        refusal(work)
        left = list(workspace.datasets.glob(".making*")) if workspace.datasets.exists() else []
        assert not left, f"something is left: {left}"
