"""Prompt templates are read from a config in every form that XTuner accepts, and never guessed."""

from dataclasses import replace

import pytest

from core.engine.config_file import ConfigFile
from core.engine.presets import PromptTemplate, prompt_templates
from core.engine.prompt_template import name_at, template_at

QWEN = prompt_templates()["qwen_chat"]
OWN = PromptTemplate(
    name=None, system="S:{system}\n", instruction="Q:{input}\nA:", suffix="<e>", sep="\n", stop_words=("<e>", "Q:")
)
WRITTEN = "SYSTEM='S:{system}\\n', INSTRUCTION='Q:{input}\\n' 'A:', SUFFIX='<e>', SEP='\\n', STOP_WORDS=['<e>', 'Q:']"


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("t = PROMPT_TEMPLATE.qwen_chat", QWEN),
        ("t = xtuner.utils.PROMPT_TEMPLATE.qwen_chat", QWEN),
        ("t = PROMPT_TEMPLATE['qwen_chat']", QWEN),
        ("t = 'xtuner.utils.PROMPT_TEMPLATE.qwen_chat'", QWEN),
        ("mine = PROMPT_TEMPLATE.qwen_chat\nt = mine", QWEN),
        ("t = PROMPT_TEMPLATE.default\nt = PROMPT_TEMPLATE.qwen_chat", QWEN),
        (f"t = dict({WRITTEN})", OWN),
        (f"t = ConfigDict({WRITTEN})", OWN),
        (f"mine = dict({WRITTEN})\nt = mine", OWN),
        ("t = {'INSTRUCTION': 'Q:' + '{input}'}", PromptTemplate(instruction="Q:{input}")),
        ("end = '<e>'\nt = dict(INSTRUCTION='{input}', SUFFIX=end, STOP_WORDS=[end])",
         PromptTemplate(suffix="<e>", stop_words=("<e>",))),
        ("t = PROMPT_TEMPLATE.qwen_chat\nt.SUFFIX = '!'", replace(QWEN, name=None, suffix="!")),
        ("t = PROMPT_TEMPLATE.qwen_chat\nt['STOP_WORDS'] = []", replace(QWEN, name=None, stop_words=())),
        # Missing, not a template, or known only when the file is executed.
        ("x = 1", None),
        ("t = None", None),
        ("t = PROMPT_TEMPLATE.nothing", None),
        ("t = 'qwen'", None),
        ("t = make()", None),
        ("t = dict(SYSTEM='{system}')", None),
        ("t = dict(INSTRUCTION=make())", None),
        ("t = dict(INSTRUCTION='{input}', STOP_WORDS=make())", None),
        ("t = dict(INSTRUCTION='{input}', STOP_WORDS=[1])", None),
        ("t = PROMPT_TEMPLATE.qwen_chat\nt.update(SUFFIX='!')", None),
    ],
)  # fmt: skip
def test_template(text, template):
    assert template_at(ConfigFile(text), "t") == template


def test_every_template_of_xtuner_is_read_by_its_name_and_written_out():
    for name, template in prompt_templates().items():
        assert template_at(ConfigFile(f"t = PROMPT_TEMPLATE.{name}"), "t") == template
        assert PromptTemplate.from_json(template.to_json()) == template
        keys = ", ".join(f"{key.upper()}={value!r}" for key, value in template.to_json().items() if key != "name")
        assert template_at(ConfigFile(f"t = dict({keys})"), "t") == replace(template, name=None)


def test_name():
    assert name_at(ConfigFile("t = PROMPT_TEMPLATE.qwen_chat"), "t") == "qwen_chat"
    assert name_at(ConfigFile(f"t = dict({WRITTEN})"), "t") is None
