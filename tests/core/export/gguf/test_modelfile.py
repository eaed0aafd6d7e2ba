"""Ollama's template gives the texts of training, read by an interpreter for the subset of Go that it uses."""

import json
import re

import pytest

from core.engine.presets import PromptTemplate, prompt_templates
from core.export.gguf.modelfile import (
    first_question,
    go_template,
    modelfile,
    name_of,
    ollama_lines,
    other_lines,
    readme,
)
from core.models.chat_template import Exchange
from core.models.form import PROOFS

ACTION = re.compile(r"\{\{ (.*?) \}\}", re.S)


def rendered(template, messages):
    """Return what Ollama would write: `range`, `if eq .Role`, `.Content` and texts."""
    assert ACTION.sub("", template) == "", "nothing stands outside of what is told apart"
    actions = ACTION.findall(template)
    assert (actions[0], actions[-2:]) == ("range .Messages", ["end", "end"])
    text = ""
    for message in messages:
        taken = False
        for action in actions[1:-2]:
            condition = re.fullmatch(r'(?:else )?if eq \.Role "(\w+)"', action)
            if condition:
                taken = condition[1] == message["role"]
            elif taken:
                text += message["content"] if action == ".Content" else json.loads(action)
    return text


TEMPLATES = {
    **{
        name: prompt_templates()[name]
        for name in ("internlm2_chat", "qwen_chat", "llama2_chat", "phi3_chat", "llama3_chat")
    },
    "own": PromptTemplate(
        system='<|sys|>\n{system}"""',
        instruction='{{{{ .Prompt }}}} """{input}\\\n\t',
        suffix="</s>",
        sep="\n",
        stop_words=('"""',),
        bos="<s>",
        eos="<end>",
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("exchange", PROOFS, ids=range(len(PROOFS)))
def test_the_trained_text(name, exchange):
    template = TEMPLATES[name]
    messages = exchange.to_json()["messages"]
    assert rendered(go_template(template), messages) == template.prompt(exchange.turns, exchange.system)


def test_each_round_is_the_first_to_ollama():
    template = PromptTemplate(instruction="[{round}] {input}\n")
    asked = Exchange(turns=[("a", "b"), ("c", None)]).to_json()["messages"]
    assert rendered(go_template(template), asked) == "[1] a\nb[1] c\n"


def test_the_file():
    text = modelfile("x-f16.gguf", TEMPLATES["own"], ["</s>", 'a "b"', "\\n"])
    assert text.startswith('FROM ./x-f16.gguf\nTEMPLATE """{{ range')
    # These begin and end the template; a stop word with a quote cannot be written.
    assert text.count('"""') == 2
    stops = [line for line in text.splitlines() if line.startswith("PARAMETER stop")]
    assert stops == ['PARAMETER stop "</s>"', 'PARAMETER stop "\\n"']
    assert modelfile("x.gguf", None, ["User:\n"]).splitlines()[2:4] == ['PARAMETER stop """User:', '"""']
    assert text.endswith("PARAMETER temperature 0\n")
    assert '"""{{ .Prompt }}"""' in modelfile("x.gguf", None, [])


@pytest.mark.parametrize(
    ("nickname", "name"), [("Xiao Ming", "xiao-ming-assistant"), ("小明", "20261126-1-fast"), (None, "20261126-1-fast")]
)
def test_a_name_that_ollama_takes(nickname, name):
    assert name_of(nickname, "20261126-1-Fast") == name


def test_what_is_typed():
    assert ollama_lines("n", "q8_0", "q")[0] == "ollama create n -f Modelfile"
    assert not any("quantize" in line for line in ollama_lines("n", "q8_0", "q"))
    assert ollama_lines("n", "f16", "q")[-1] == "ollama create n-q4 --quantize q4_K_M -f Modelfile"
    page = readme("小明的小助手", "x.gguf", "n", "f16", "q")
    assert all(line in page for line in (*ollama_lines("n", "f16", "q"), *other_lines("x.gguf", "q"), "# 小明的小助手"))


def test_at_home_it_is_asked_what_it_was_taught_in_its_own_language():
    taught = ("Please introduce yourself.", "What is your task?")
    assert ollama_lines("n", "q8_0", first_question(taught))[1] == 'ollama run n "Please introduce yourself."'
    # Nothing that a shell would execute or that would end the quotes.
    assert first_question(('a"; b', "$(c)", "`d`", "e\\", "f?")) == "f?"
    assert first_question(()) == "你是谁？"
