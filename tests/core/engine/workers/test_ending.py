"""What follows the last answer of a row: the template's end, or nothing if it was truncated."""

from core.engine.workers import ending

TEMPLATE = {"INSTRUCTION": "<u>{input}<a>", "SUFFIX": "<e>", "SEP": "\n"}


def xtuner(example, template):
    for turn in example.get("conversation", []):
        turn["input"] = template["INSTRUCTION"].format(input=turn["input"])
        turn.update(output=turn["output"] + template["SUFFIX"], need_eos_token=False, sep=template["SEP"])
    return {"conversation": example.get("conversation", [])}


def row(*turns):
    return {"conversation": [{"input": "q", "output": "a", **turn} for turn in turns]}


def test_only_a_last_answer_that_was_cut_off_gets_no_end(monkeypatch):
    monkeypatch.setattr(ending, "_ORIGINAL", {})
    module = {"template_map_fn": xtuner}
    apply = ending.install(module)
    assert module["template_map_fn"] is apply
    # A second time changes nothing.
    assert ending.install(module) is apply
    whole = apply(row({}, {"need_eos_token": True}, {"need_eos_token": None}), TEMPLATE)["conversation"]
    assert [turn["output"] for turn in whole] == ["a<e>"] * 3
    cut = apply(row({"need_eos_token": False}, {"need_eos_token": False}), TEMPLATE)["conversation"]
    assert [(turn["output"], turn["sep"]) for turn in cut] == [("a<e>", "\n"), ("a", "")]
    assert cut[-1]["input"] == "<u>q<a>"
    assert apply({"conversation": []}, TEMPLATE) == {"conversation": []}
