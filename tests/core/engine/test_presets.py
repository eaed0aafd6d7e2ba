"""XTuner's own files are found without importing it, and its templates are read as written there."""

import re
import subprocess
import sys

import pytest

from core.engine.presets import (
    COURSE_PRESET,
    PromptTemplate,
    matching,
    preset_text,
    presets,
    prompt_templates,
    xtuner_directory,
)
from core.ground.errors import BadInput


def test_presets():
    found = presets()
    assert len(found) > 500
    assert COURSE_PRESET in found
    assert "internlm2_1_8b_full_custom_pretrain_e1" in found
    assert all(path.is_file() for path in found.values())
    assert "__init__" not in found


def test_xtuner_is_not_imported():
    """In a separate process: in this one, a test before it may have."""
    source = (
        "import sys; from core.engine import presets as p\n"
        "p.presets(); p.preset_text(p.COURSE_PRESET); p.prompt_templates(); print('xtuner' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_matching():
    course = matching("internlm2_chat_1_8b")
    assert COURSE_PRESET in course
    assert all("internlm2_chat_1_8b" in name for name in course)
    assert matching("InternLM2_CHAT_1_8B") == course
    assert COURSE_PRESET in matching("internlm2_*_alpaca_e3")
    assert matching("no such preset") == []
    assert matching("[") == []
    assert matching(None) == matching("") == list(presets())


def test_preset_text():
    assert "evaluation_inputs" in preset_text(COURSE_PRESET)
    for name in ("nothing", "", "../x"):
        with pytest.raises(BadInput) as refused:
            preset_text(name)
        assert "configs list" in str(refused.value)


def test_templates_are_those_in_the_file():
    """Read in a second way: the values of each block from its text."""
    source = (xtuner_directory() / "utils" / "templates.py").read_text(encoding="utf-8")
    body = source[source.index("PROMPT_TEMPLATE = ConfigDict(") :].partition("\n)\n")[0]
    blocks = re.findall(r"^    (\w+)=dict\(\n?(.*?)(?=^    \w+=dict\(|\Z)", body, re.M | re.S)
    templates = prompt_templates()
    assert [name for name, _ in blocks] == list(templates)
    assert len(blocks) > 20

    def value(block: str, key: str) -> str | None:
        found = re.search(rf"\b{key}=\(?((?:\s*\"(?:[^\"\\]|\\.)*\")+)", block)
        if not found:
            return None
        return "".join(re.findall(r"\"((?:[^\"\\]|\\.)*)\"", found[1])).encode().decode("unicode_escape")

    for name, block in blocks:
        if not block.isascii():
            continue
        template = templates[name]
        assert template.name == name
        assert template.instruction == value(block, "INSTRUCTION"), name
        assert template.system == (value(block, "SYSTEM") or "{system}"), name
        assert template.suffix == (value(block, "SUFFIX") or ""), name
        assert template.sep == (value(block, "SEP") or ""), name
        words = re.search(r"STOP_WORDS=\[(.*?)\]", block)
        assert template.stop_words == tuple(re.findall(r'"(.*?)"', words[1]) if words else ()), name


def encoded(template: PromptTemplate, system: str, turns: list[tuple[str, str | None]]) -> str:
    """Return the text that XTuner's `template_map_fn` and `encode_fn` build, up to the answer to be generated."""
    text = ""
    for number, (question, answer) in enumerate(turns, 1):
        asked = template.instruction.format(input=question, round=number)
        if number == 1 and system:
            asked = template.system.format(system=system) + asked
        text += asked
        if answer is not None:
            text += answer + template.suffix + template.sep
    return text


@pytest.mark.parametrize("name", list(prompt_templates()))
def test_prompt_is_the_text_of_the_training(name):
    template = prompt_templates()[name]
    for system in ("", "你是{小}助手"):
        for turns in ([("你好", None)], [("a {b} {input}", "c"), ("{round}", "e"), ("f", None)]):
            assert template.prompt(turns, system) == encoded(template, system, turns)


def test_prompt_of_internlm2():
    template = prompt_templates()["internlm2_chat"]
    assert template.prompt([("你好", "嗨"), ("你是谁", None)], "S") == (
        "<|im_start|>system\nS<|im_end|>\n"
        "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n嗨<|im_end|>\n"
        "<|im_start|>user\n你是谁<|im_end|>\n<|im_start|>assistant\n"
    )
    assert template.stop_words == ("<|im_end|>",)
