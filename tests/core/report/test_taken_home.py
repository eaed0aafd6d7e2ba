"""The report describes the GGUF files as on disk: files, sizes, time, and llama.cpp's answers."""

import pytest

from core.chat import gguf_score
from core.export.gguf import conversion
from core.ground.figures import duration, size
from core.ground.files import read_json, write_json
from core.report import outline, taken_home, writeup
from core.report.assignment import assignment
from core.report.material import TITLES, Draft
from tests.core.export.gguf import tiny

Q8_ANSWERS = ["我是小明的助手", "我在这里帮助小明", "你好", "里昂"]


@pytest.fixture
def home(workspace, exported_run):
    """The run with both files; llama.cpp was asked with one of them."""
    tiny.write_model(exported_run.merged)
    conversion.finish(exported_run, conversion.start(workspace, exported_run, ["f16", "q8_0"]))
    verified = {
        "same_prompts": True, "same_chat": True, "same_tokens": False, "near_ties": 0, "share": 0.75, "exact": False,
        "nickname": {"merged": 2, "gguf": 1, "of": 2}, "ok": False, "seconds": 41.0,
        "answers": [{"merged": "我是小明的小助手", "gguf": said} for said in Q8_ANSWERS],
        "scored": [{"question": one["question"], "answer": "?"} for one in gguf_score.questions(exported_run)],
    }  # fmt: skip
    write_json(conversion.place(exported_run, "q8_0").with_name("verified.json"), verified)
    return exported_run


def told(workspace, run, language):
    """Return the section, and the entire text."""
    draft = Draft(workspace=workspace, run=run, language=language, outline=outline.load(run), points=[])
    return "\n\n".join(taken_home.gguf(draft)), writeup.markdown(draft)


@pytest.mark.parametrize(
    ("language", "unasked", "costs"),
    [("zh", "没有核对", "量化的代价"), ("en", "not checked", "cost of quantization: the answers agree for 75%")],
)
def test_files_sizes_seconds_and_what_quantising_costs(workspace, home, language, unasked, costs):
    section, whole = told(workspace, home, language)
    files = conversion.made(home)
    assert [made.kind for made in files] == ["f16", "q8_0"]
    f16, q8_0 = (next(line for line in section.splitlines() if line.startswith(f"| {made.kind} |")) for made in files)
    for line, made in zip((f16, q8_0), files, strict=True):
        assert f"| {size(made.path.stat().st_size)} |" in line
        assert made.path.name.replace("_", "\\_") in line
    assert unasked in f16
    assert costs in q8_0
    for question, answer in zip(home.questions, Q8_ANSWERS, strict=False):
        assert f"| {question} | 我是小明的小助手 | {answer} |" in section
    assert "ollama create" in section
    # By the questions of the score, it forgot who it is.
    assert f"| {'身份' if language == 'zh' else 'identity'} | 100% | 0% |" in section
    assert section in whole
    assert f"## {TITLES['gguf'].in_(language)}\n" in whole
    assert str(workspace.root) not in whole
    # The time of a file includes creating and verifying it.
    taken = duration(files[1].seconds + 41.0).in_(language)
    assert f"| GGUF q8_0 | {taken} |" in whole


def test_nothing_taken_home_is_no_section(workspace, exported_run):
    section, whole = told(workspace, exported_run, "en")
    assert section == ""
    assert TITLES["gguf"].en not in whole


def test_a_report_older_than_the_files_is_out_of_date(workspace, home):
    writeup.build(workspace, home, "zh")
    assert not writeup.outdated(home)
    file = conversion.place(home, "q8_0").with_name("verified.json")
    write_json(file, {**read_json(file), "ok": True})
    assert writeup.outdated(home)


def test_an_optional_step_that_counts_nowhere(workspace, exported_run, home):
    found = assignment(workspace)
    last = found.steps[-1]
    assert (last.name, last.page, last.done, last.evidence, last.optional) == (
        "taken_home", "export", True, exported_run.id, True,
    )  # fmt: skip
    assert [step.optional for step in found.required] == [False] * 9
    done = found.done
    conversion.discard(home)
    without = assignment(workspace)
    assert not without.steps[-1].done
    assert without.done == done
    assert without.missing == found.missing
    assert without.next.name != "taken_home"
