"""Every format goes through XTuner's own loader: it returns the conversations that were written.

One engine process for all of them; `FORMATS` defines what it is asked.
"""

import json
import os
import subprocess
import sys

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from core.data import corpus, rendering, statistics, storage
from core.data import dataset as datasets
from core.data.assistant import Assistant
from core.data.corpus import Wanted
from core.data.row import single
from core.engine.commands import engine_environment
from core.engine.presets import prompt_templates
from core.ground.files import write_json
from core.ground.workspace import PROJECT
from core.models import model as models
from core.models.prompt import Prompt

QUESTION, ANSWER = "你好 <b>&\t“引号” 😀", "嗨，\n第二行 {x} \\n"
PAIR = {"input": QUESTION, "output": ANSWER}
TWO = [{"system": "系统 {y}", **PAIR}, {"input": "再问", "output": "再答"}]
# Run by the engine: what XTuner makes of each file, without and with its template and tokenizer.
LOADER = """
from core.ground import garbage
garbage.wait()
import json, sys
from core.engine.workers.without_gpu import answer_bf16
answer_bf16()
from datasets import DatasetDict, disable_progress_bars, load_dataset
from transformers import AutoTokenizer
from xtuner.dataset import process_hf_dataset
from xtuner.dataset.map_fns import template_map_fn_factory
from xtuner.utils import PROMPT_TEMPLATE
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
disable_progress_bars()
found = {}
for name, path, text in json.load(open(sys.argv[2])):
    raw = load_dataset("json", data_files={"train": path}, split="train")
    if len(raw) > 1000:
        # Too many tokens for a test; that it loads, its last row too, is what is asked.
        found[name] = {"rows": [raw[-1]["conversation"]]}
        continue
    rows = [row["conversation"] for row in raw]
    template = None if text else template_map_fn_factory(template=PROMPT_TEMPLATE.internlm2_chat)
    made = process_hf_dataset(
        dataset=DatasetDict({"train": raw}), tokenizer=tokenizer, max_length=100000,
        dataset_map_fn=None, template_map_fn=template, remove_unused_columns=True, pack_to_max_length=False,
        map_num_proc=1,
    )
    ids, labels = made["input_ids"], made["labels"]
    found[name] = {"rows": rows, "lengths": list(made["length"]), "ids": list(ids[0]), "labels": list(labels[0])}
json.dump(found, open(sys.argv[3], "w"))
"""


def write_tokenizer(directory):
    """Write a minimal tokenizer of single bytes with InternLM2's special tokens."""
    directory.mkdir(parents=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(BPE({letter: place for place, letter in enumerate([*special, *letters])}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(directory / "tokenizer.json"))
    names = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    write_json(directory / "tokenizer_config.json", names)


def files(directory):
    """Yield a file of each supported format, all with the same conversations."""
    chat = [{"role": "system", "content": "系统 {y}"}]
    for turn in TWO:
        chat += [{"role": "user", "content": turn["input"]}, {"role": "assistant", "content": turn["output"]}]
    share = [
        {"from": {"user": "human", "assistant": "gpt"}.get(m["role"], m["role"]), "value": m["content"]} for m in chat
    ]
    past = {"system": "系统 {y}", "history": [[QUESTION, ANSWER]]}
    records = {
        "xtuner": {"conversation": TWO},
        "openai": {"messages": chat},
        "sharegpt": {"conversations": share},
        "alpaca": {"instruction": "再问", "input": "", "output": "再答", **past},
        "qa": {"query": "再问", "response": "再答", **past},
    }
    for name, record in records.items():
        (directory / f"{name}.json").write_text(json.dumps([record], ensure_ascii=False), encoding="utf-16")
        (directory / f"{name}.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
        yield from ((f"{name}.json", TWO), (f"{name}.jsonl", TWO))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([records["openai"]]), directory / "x.parquet")
    yield "x.parquet", TWO
    book = openpyxl.Workbook()
    book.active.append(["问题", "回答"])
    book.active.append([QUESTION, ANSWER])
    book.save(directory / "x.xlsx")
    yield "x.xlsx", [PAIR]
    for suffix, separator in (("csv", ","), ("tsv", "\t")):
        cells = [f'"{text.replace(chr(34), chr(34) * 2)}"' for text in (QUESTION, ANSWER)]
        text = f"question{separator}answer\n{separator.join(cells)}\n"
        (directory / f"x.{suffix}").write_bytes(text.replace("😀", "").encode("gb18030"))
        yield f"x.{suffix}", [{**PAIR, "input": QUESTION.replace("😀", "")}]
    (directory / "x.txt").write_text("一段文字", encoding="utf-8")
    yield "x.txt", [{"input": "", "output": "一段文字"}]


@pytest.fixture
def made(workspace, tmp_path):
    """(name, dataset, its conversations) for every format, and for datasets created by the app."""
    found = []
    for file, wanted in files(tmp_path):
        dataset, _ = datasets.import_file(workspace, tmp_path / file, name=file.replace(".", "-"))
        found.append((dataset, [wanted]))
    mixed = [single("a", "b"), {"conversation": TWO}, single("c", "d")]
    found.append(
        (storage.store(workspace, "mixed", "x", mixed, {"kind": "import"}), [r["conversation"] for r in mixed])
    )
    assistant = datasets.make_assistant(workspace, "小明")
    found.append((assistant, [row["conversation"] for row in Assistant(nickname="小明").rows()]))
    (tmp_path / "book.txt").write_text("一本书里的一句话，不长也不短。" * 30, encoding="utf-8")
    texts, _, _ = corpus.make(workspace, [tmp_path / "book.txt"], Wanted(chunk=100, overlap=0, deduplicate=False))
    found.append((texts, [row["conversation"] for row in texts.load()]))
    # A system prompt that first occurs in a later block of the file.
    many = [single(f"{number}", "字" * 300) for number in range(20_100)]
    many[-1] = {"conversation": TWO}
    found.append((storage.store(workspace, "many", "x", many, {"kind": "import"}), [TWO]))
    return found


def test_every_format_through_xtuner(workspace, made, tmp_path):
    model = workspace.model("tiny")
    write_tokenizer(model)
    asked = [(dataset.name, str(dataset.data), statistics.is_text(dataset)) for dataset, _ in made]
    write_json(tmp_path / "asked.json", asked)
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(model), str(tmp_path / "asked.json"), str(tmp_path / "found.json")],
        env={**os.environ, **engine_environment(workspace)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "found.json").read_text())
    prompt = Prompt(template=prompt_templates()["internlm2_chat"], kind="named")
    kept = models.Model(name="tiny", path=model, architecture="InternLM2ForCausalLM", prompt=prompt)
    for dataset, conversations in made:
        told = found[dataset.name]
        if conversations:
            # A key that only some turns have is null in the others.
            assert [
                [{k: v for k, v in turn.items() if v is not None} for turn in row] for row in told["rows"]
            ] == conversations
    # The worker that counts and shows tokens gives the same as training; one process for all rows.
    chats = [dataset for dataset, _ in made if not statistics.is_text(dataset) and dataset.rows < 1000]
    rows = [row for dataset in chats for row in dataset.load()]
    shown = rendering.render(workspace, kept, rows, kept.prompt_template)
    assert [len(row.tokens) for row in shown] == [n for dataset in chats for n in found[dataset.name]["lengths"]]
    first = found[chats[0].name]
    assert [token.id for token in shown[0].tokens] == first["ids"]
    assert [token.trained for token in shown[0].tokens] == [label != -100 for label in first["labels"]]
    assert "".join(token.text for token in shown[0].tokens).count(QUESTION) == 1
    texts = next(dataset for dataset, _ in made if dataset.name == "corpus")
    assert statistics.count(workspace, texts, kept).lengths.tolist() == found["corpus"]["lengths"]
    # Problems: a second <s>, and a system turn that evaluation lacks, has in a different form, or has alone.
    written = [single("", f"{begin}书里的话") for begin in ("<s><s>", "<s>", "")]
    doubled = rendering.render(workspace, kept, written, None)
    assert [[problem.message.en for problem in row.problems] for row in doubled] == [
        ["token 2 is a duplicate beginning-of-sequence token"],
        # One in the data is the one that training would add.
        [],
        [],
    ]
    both = [{"conversation": TWO}, single(QUESTION, ANSWER)]
    for system, flagged in (
        ("", ["the row has a system prompt that evaluation and chat do not send", None]),
        ("系统 {y}", [None, "evaluation and chat send a system prompt that the row does not have"]),
        ("另一个", ["the row has a system prompt that evaluation and chat do not send",
                    "evaluation and chat send a system prompt that the row does not have"]),
    ):  # fmt: skip
        said = rendering.render(workspace, kept, both, kept.prompt_template, system=system)
        assert [next((problem.message.en for problem in row.problems), None) for row in said] == flagged
