"""The evaluation of llama.cpp's answers, from a scripted stand-in; the real one is asked if available."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from core.export.gguf import llama_cpp, verification
from core.export.gguf.server import Said
from core.export.gguf.verification import verify
from core.ground.workspace import PROJECT, Workspace

STOP = 3


class StandIn:
    """Reads a text as its letters; answers by the last letter of the prompt."""

    answers: dict[int, Said] = {}
    margins: dict[int, float] = {}
    template = "{}"
    bos: list[int] = []

    def __init__(self, *_file_place_context):
        pass

    def tokens(self, text):
        return [*self.bos, *map(ord, text)]

    def rendered(self, messages):
        return self.template.format(messages[-1]["content"])

    def answer(self, prompt, most):
        said = self.answers[prompt[-1]]
        return Said(tokens=said.tokens[:most], ended=said.ended, text=said.text)

    def leans(self, prompt, tokens, by, *, ends):
        assert ends is (tokens == [STOP])
        return self.margins[prompt[-1]] <= by


@pytest.fixture
def stand_in(monkeypatch):
    def use(**said):
        monkeypatch.setattr(verification, "LlamaCpp", type("Told", (StandIn,), said))

    return use


def asked(*answers, nickname="小明", own=None, exchanges=({"messages": [{"content": "q"}], "text": "q"},)):
    """Return a plan in which the merged model gave these answers to a, b, c…"""
    letters = "abcdefg"[: len(answers)]
    return {
        "stops": [STOP], "exchanges": list(exchanges), "nickname": nickname, "own": len(answers) if own is None else own,
        "reference": [
            {"text": letter, "prompt": [ord(letter)], "answer": tokens, "said": said}
            for letter, (tokens, said) in zip(letters, answers, strict=True)
        ],
    }  # fmt: skip


def ask(plan, exact=True):
    done = []
    found = verify(Path("x.gguf"), Path("place"), plan, exact, done.append)
    assert done[-1] == 1.0
    return found


def test_the_same(stand_in):
    stand_in(
        answers={
            97: Said(tokens=[10, 11, STOP], ended=True, text="我是小明"),
            98: Said(tokens=[12], ended=False, text="…"),
        }
    )
    found = ask(asked(([10, 11, STOP], "我是小明"), ([12], "…")))
    assert (found["ok"], found["same_tokens"], found["share"], found["near_ties"]) == (True, True, 1.0, 0)
    assert (found["same_prompts"], found["same_chat"]) == (True, True)
    assert found["nickname"] == {"merged": 1, "gguf": 1, "of": 2}


@pytest.mark.parametrize(
    ("tokens", "ended", "at"),
    [
        ([10, 99], True, 1),
        # It continues where the merged model stopped, and vice versa.
        ([10, 11, 12], False, 2),
        ([10], True, 1),
        ([], True, 0),
    ],
)
@pytest.mark.parametrize(("margin", "tie"), [(0.05, True), (0.5, False)])
def test_parted(stand_in, tokens, ended, at, margin, tie):
    reached = {97: margin, 10: margin, 11: margin}
    stand_in(answers={97: Said(tokens=tokens, ended=ended, text="")}, margins=reached)
    found = ask(asked(([10, 11, STOP], "")))
    assert (found["ok"], found["same_tokens"], found["near_ties"]) == (tie, False, int(tie))
    assert found["share"] == at / 2


@pytest.mark.parametrize(("said", "kept"), [("我是小明的助手", True), ("我是书生", False)])
def test_what_quantising_may_cost(stand_in, said, kept):
    """Words may differ; the nickname must not be lost."""
    stand_in(answers={97: Said(tokens=[99], ended=True, text=said)}, margins={97: 5.0})
    assert ask(asked(([10, STOP], "我是小明")), exact=False)["ok"] is kept
    assert not ask(asked(([10, STOP], "我是小明")))["ok"]


def test_general_questions_are_not_counted_for_the_nickname(stand_in):
    stand_in(answers={97: Said(tokens=[10], ended=True, text="小明"), 98: Said(tokens=[10], ended=True, text="小明")})
    assert ask(asked(([10, STOP], "小明"), ([10, STOP], "小明"), own=1))["nickname"]["gguf"] == 1
    assert ask(asked(([10, STOP], ""), ([10, STOP], ""), nickname=None))["nickname"] is None


@pytest.mark.parametrize(("wrong", "key"), [({"bos": [1]}, "same_prompts"), ({"template": "[{}]"}, "same_chat")])
def test_another_prompt_is_never_good(stand_in, wrong, key):
    stand_in(answers={97: Said(tokens=[10], ended=True, text="")}, **wrong)
    found = ask(asked(([10, STOP], "")))
    assert (found["same_tokens"], found[key], found["ok"]) == (True, False, False)


def test_without_a_prompt(stand_in):
    stand_in(answers={97: Said(tokens=[10], ended=True, text="")}, template="[{}]")
    found = ask(asked(([10, STOP], ""), exchanges=()))
    assert (found["same_chat"], found["ok"]) == (None, True)


def test_what_was_scored_is_asked_of_a_quantised_file_alone(stand_in):
    stand_in(
        answers={97: Said(tokens=[10], ended=True, text="a"), 98: Said(tokens=[11, 12, 13], ended=False, text="b")}
    )
    plan = {**asked(([10, STOP], "a")), "scored": [{"question": "B?", "text": "b", "most": 2}]}
    assert ask(plan, exact=True)["scored"] == []
    assert ask(plan, exact=False)["scored"] == [{"question": "B?", "answer": "b"}]


PLACE = Path(os.environ.get("XTUNER_STUDIO_LLAMA_CPP") or llama_cpp.place(Workspace(PROJECT / "workspace")))


@pytest.mark.skipif(
    not llama_cpp.there(PLACE),
    reason="llama.cpp is not there: python -m core export gguf R --verify fetches it, or XTUNER_STUDIO_LLAMA_CPP names it",
)
@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "InternLM2ForCausalLM"])
def test_llama_cpp_itself(tmp_path, architecture):
    """It loads the file, tokenizes like tokenizers, writes the chat template's text, and stops where the file says."""
    from core.export.gguf.gguf_file import Prompt, write
    from tests.core.export.gguf import tiny

    tiny.write_model(tmp_path, architecture)
    file = tmp_path / "x.gguf"
    write(tmp_path, file, "f16", Prompt(chat_template=tiny.TEMPLATE, begins=False, stops=(3, 4)), "x", lambda _: None)
    asking = (
        "import json, os, sys; from pathlib import Path; from core.export.gguf.server import LlamaCpp\n"
        "model = LlamaCpp(Path(sys.argv[1]), Path(sys.argv[2]), 128)\n"
        "text = model.rendered([{'role': 'user', 'content': 'hell 12'}])\n"
        "said = model.answer(model.tokens(text), 4)\n"
        "print(json.dumps([text, model.tokens(text), len(said.tokens), said.ended,\n"
        "    [model.leans([7], [number], by, ends=number == 3) for number in (8, 3) for by in (0.0, 90.0)]]))\n"
        "sys.stdout.flush(); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", asking, file, PLACE],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    text, tokens, count, ended, leans = json.loads(done.stdout.splitlines()[-1])
    assert text == "<|im_start|>user\nhell 12<|im_end|>\n<|im_start|>assistant\n"
    own = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokens == own.encode(text, add_special_tokens=False).ids
    assert ended or count == 4
    assert leans == [False, True, False, True]
