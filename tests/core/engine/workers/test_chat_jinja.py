"""The published chat template writes what XTuner trained with, for any prompt template."""

from dataclasses import replace

import pytest

from core.engine.presets import PromptTemplate, prompt_templates
from core.engine.workers.chat_jinja import chat_template
from core.models.chat_template import ChatTemplate, Exchange, render
from core.models.form import PROOFS
from core.models.prompt import prompt_of

MARKS = "<|im_start|>{role}\n{text}<|im_end|>\n"
# Templates as a user could write them in a config.
OWN = {
    "braces": PromptTemplate(instruction="{{Q{round}: {input}}}\n{{% if x %}}A}}: ", suffix="}}", sep="\n{{ x }}"),
    "quotes": PromptTemplate(instruction="it's \"{input}\" \\n\\'\t\r\n→ ", suffix="'\\", suffix_as_eos=True),
    "blocks": PromptTemplate(instruction="{{% raw %}}{{# {input} #}}{{{{ \n\n", suffix="{% endraw %}", sep="  \n"),
    "spaces": PromptTemplate(system="\n  {system}  \n", instruction="  {input}\n  ", suffix=" ", sep="\n\n"),
    "plain": PromptTemplate(),
    "twice": PromptTemplate(instruction="{input}\n{input}<e>\nA: ", suffix="<e>", sep="\n", suffix_as_eos=True),
    "astral": PromptTemplate(instruction="😀<｜User｜>{input}\u2028<｜Assistant｜>", suffix="<｜end▁of▁sentence｜>"),
    "counted behind": PromptTemplate(instruction="{input}<e>\n{round}: ", suffix="<e>", sep="\n", suffix_as_eos=True),
}
ENDS = {"bos": "<s>", "eos": "</s>"}
TEMPLATES = {name: replace(one, **ENDS) for name, one in {**prompt_templates(), **OWN}.items()}
EXCHANGES = (
    *PROOFS,
    Exchange(turns=[("{{ messages }}", "{% x %}'\\"), ("'", None)], system="{{ 1 }} it's\\n"),
    Exchange(turns=[("你好", "好"), ("再见", "回头见")], system="乐于助人"),
)


def rendered(text, exchanges):
    return [one.text for one in render(ChatTemplate(text=text, special={}, tokens=frozenset()), exchanges)]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_it_writes_what_was_trained(template):
    found = rendered(chat_template(template.to_json(), "[gMASK]<sop>"), EXCHANGES)
    assert found == ["[gMASK]<sop>" + template.prompt(one.turns, one.system) for one in EXCHANGES]


def test_nothing_stands_before_it_where_nothing_did():
    (found,) = rendered(chat_template(TEMPLATES["plain"].to_json()), EXCHANGES[:1])
    assert found == EXCHANGES[0].turns[0][0]


@pytest.mark.parametrize("system", ["<|im_start|>system\n{system}\n", "{system}\n"])
@pytest.mark.parametrize("question", ["<|im_start|>user\n{input}\n", "Q: {input}\n"])
def test_a_beginning_stands_once(system, question):
    """For some models BOS is the first marker of the template."""
    template = PromptTemplate(system=system, instruction=question, suffix="<|im_end|>", suffix_as_eos=True)
    asked = [Exchange(turns=[("a", None)]), Exchange(turns=[("a", "b"), ("c", None)], system="d")]
    texts = [template.prompt(one.turns, one.system) for one in asked]
    wanted = [text if text.startswith("<|im_start|>") else f"<|im_start|>{text}" for text in texts]
    assert rendered(chat_template(template.to_json(), "<|im_start|>"), asked) == wanted


def test_the_opening_of_an_answer_is_asked_for():
    """If it can be separated from the end of a question."""
    template = prompt_templates()["qwen_chat"]
    text = chat_template(template.to_json())
    question = {"messages": [{"role": "user", "content": "a"}], "generation": False}

    class Unasked(Exchange):
        def to_json(self):
            return question

    assert rendered(text, [Unasked(turns=[("a", None)])]) == ["<|im_start|>user\na<|im_end|>\n"]


def test_another_role_is_refused():
    class Tool(Exchange):
        def to_json(self):
            return {"messages": [{"role": "tool", "content": "a"}], "generation": True}

    (found,) = render(
        ChatTemplate(text=chat_template(PromptTemplate().to_json()), special={}, tokens=frozenset()),
        [Tool(turns=[("a", None)])],
    )
    assert "system, user and assistant" in found.error


@pytest.mark.parametrize("instruction", ["{question}", "{input!r}", "{input:>9}", "{}", "{input.x}"])
def test_what_xtuner_does_not_fill_in_is_no_prompt(instruction):
    with pytest.raises(ValueError, match="prompt template"):
        chat_template(PromptTemplate(instruction=instruction).to_json())


@pytest.mark.parametrize("name", ["qwen_chat", "internlm2_chat", "llama3_chat", "phi3_chat"])
def test_a_published_model_is_trained_on_with_the_same_prompt(name):
    """The published prompt is recovered from the chat template alone."""
    template = prompt_templates()[name]
    marks = frozenset({"<bos>", "<eos>", *template.stop_words, template.suffix})
    own = ChatTemplate(text=chat_template(template.to_json(), "<bos>"), special={"bos_token": "<bos>"}, tokens=marks)
    found = prompt_of(own)
    assert found.known
    assert found.template.same(template)
    assert not found.default_system
