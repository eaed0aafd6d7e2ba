"""The runs that fail on purpose: which answers are shown, the table, and other weights of the same shape."""

import json
import struct

import pytest

from benchmarks import verdicts
from benchmarks.product import Unfit, between


def question(kind, number, **more):
    usual = {
        "tuned_identity": kind == "identity",
        "still_right": True,
        "leaked": False,
        "apart": False,
        "base_right": True,
    }
    return {"kind": kind, "question": f"{kind} {number}", "base": "b", "tuned": "t" * 999, **usual, **more}


def result(verdict="damaged", read_as=None, **more):
    return {
        "about": "some | change", "updates": 40, "verdict": verdict, "read_as": read_as, "leak": 0.0,
        "identity": {"base": 0.0, "tuned": 1.0}, "facts": {"base_right": 22, "kept": 0.5, "gained": 3, "net": 0.64}, "parrot": {"base": 0, "tuned": 0.25},
        "manner": {"agreement": 0.8, "nats": 0.25}, "intervals": {"facts": [0.3, 0.7]},
        "answers": [{"kind": "fact", "question": "Who?", "base": "<b>\nHe", "tuned": "she | it"}], **more,
    }  # fmt: skip


def test_answers_are_shown_the_wrong_ones_first_but_not_alone():
    asked = [question("fact", n, still_right=n != 4) for n in range(6)]
    # What the base model did not know cannot have been lost.
    asked += [question("fact", 9, still_right=False, base_right=False)] + [question("identity", 0, apart=True)]
    asked += [question("general", n, tuned_identity=n < 5) for n in range(6)]
    shown = verdicts.samples(asked)
    assert [one["question"] for one in shown] == [
        "fact 4", "fact 0", "fact 1",
        # Most are wrong: two of three are shown.
        "general 0", "general 1", "general 2",
    ]  # fmt: skip
    assert {len(one["tuned"]) for one in shown} == {verdicts.MOST_CHARACTERS}


def test_the_table_says_where_a_reader_differs():
    cases = {"short": result(read_as="learned"), "replay-120": result("learned", "learned"), "replay-20": result()}
    lines = list(verdicts.lines({"tiny": {"language": "en", "machine": "m", "cases": cases}}))
    rows = [line for line in lines if line.startswith("| tiny")]
    assert [row.split(" | ")[-2:] for row in rows] == [
        ["damaged", "**learned** |"], ["damaged", " |"], ["learned", "learned |"],
    ]  # fmt: skip
    assert "50 % (30 – 70) of 22 | 11, 3 |" in rows[0]
    assert "+0.25" in rows[0]
    assert "| Who? | &lt;b> He | she \\| it |" in lines


def test_other_weights_of_the_same_shape(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"num_hidden_layers": 24}))
    names = [f"model.layers.{n}.w" for n in (1, 8, 16, 18)] + ["head"]
    header = {name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n, name in enumerate(names)}
    text = json.dumps(header).encode()
    weights = struct.pack("<Q", len(text)) + text + struct.pack("<5f", *range(5))
    (model / "model.safetensors").write_bytes(weights)
    made = (verdicts.exchanged(model, tmp_path / "other") / "model.safetensors").read_bytes()
    found = json.loads(made[8 : 8 + len(text)])
    assert {name: entry["data_offsets"][0] // 4 for name, entry in found.items()} == {
        "model.layers.1.w": 0, "model.layers.16.w": 1, "model.layers.8.w": 2, "model.layers.18.w": 3, "head": 4,
    }  # fmt: skip
    assert made[8 + len(text) :] == weights[8 + len(text) :]
    assert (model / "model.safetensors").read_bytes() == weights
    with pytest.raises(Unfit):
        verdicts.exchanged(tmp_path, tmp_path / "none")


def test_long_nicknames_are_as_long_as_they_may_be():
    assert {len(name) for name in verdicts.LONG.values()} == {30}


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n")
    between(page, "x", "new\n\n")
    assert page.read_text() == "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n"
    with pytest.raises(Unfit):
        between(page, "y", "new")
