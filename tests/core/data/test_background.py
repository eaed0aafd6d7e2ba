"""Imports and corpora as jobs: the page's request is what is created, and a taken name is refused immediately."""

import pytest

from core.data import background, corpus, intake
from core.data import dataset as datasets
from core.data.files.placeholders import Fill
from core.data.files.shapes import Columns
from core.ground.errors import BadInput
from core.jobs.job import Status
from tests.conftest import ended


def test_an_import(workspace, tmp_path):
    file = tmp_path / "a table.csv"
    file.write_text("who,answer,ask\nbe kind,I am {{NAME}},who?\n", encoding="utf-8")
    columns = Columns(question="ask", answer="answer", system="who")
    wanted = intake.Wanted(format="qa", columns=columns, fill=Fill(name="小书", author="小明"))
    job = background.start_import(workspace, file, wanted, "自己的-数据", "zh")
    assert ended(job) is Status.FINISHED, job.log_tail()
    assert job.spec["facts"] == {"name": "自己的-数据", "file": "a table.csv"}
    (row,) = datasets.find(workspace, "自己的-数据").load()
    assert row["conversation"] == [{"system": "be kind", "input": "who?", "output": "I am 小书"}]
    assert file.exists()


def test_a_corpus_of_what_was_uploaded(workspace, tmp_path):
    files = [tmp_path / name for name in ("one.txt", "two.md")]
    for number, file in enumerate(files):
        file.write_text("".join(f"{number} 号文档的第 {line} 句话。" for line in range(40)), encoding="utf-8")
    wanted = corpus.Wanted(chunk=60, overlap=0, deduplicate=False, boilerplate=False)
    job = background.start_corpus(workspace, files, wanted, "books", keep=True)
    assert ended(job) is Status.FINISHED, job.log_tail()
    made = datasets.find(workspace, "books")
    assert made.made["files"] == ["one.txt", "two.md"]
    assert max(len(row["conversation"][0]["output"]) for row in made.each()) <= 60
    assert not any(file.exists() for file in files)


def test_a_taken_name(workspace, dataset, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("x", encoding="utf-8")
    with pytest.raises(BadInput, match=dataset.name):
        background.start_import(workspace, file, intake.Wanted(), dataset.name)
    with pytest.raises(BadInput, match=dataset.name):
        background.start_corpus(workspace, [file], corpus.Wanted(), dataset.name)
    assert not workspace.jobs.exists() or not list(workspace.jobs.glob("*-1"))
