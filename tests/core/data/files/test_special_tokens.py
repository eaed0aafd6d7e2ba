"""The tokens of every prompt template of XTuner are recognized within a text."""

import pytest

from core.data.checks import Checks
from core.data.files.special_tokens import ends_answer, stripped, tokens_in, tokens_of
from core.data.row import single
from core.engine.presets import prompt_templates


@pytest.mark.parametrize("name", sorted(prompt_templates()))
def test_each_template(name):
    template = prompt_templates()[name]
    for end in {template.suffix.strip(), *template.stop_words} - {"", "\n"}:
        assert any(ends_answer(token) for token in tokens_in(f"好的。{end}"))
        assert stripped(f"好的。{end}\n{end}") == "好的。"
    for token in tokens_of(template):
        assert tokens_in(f"a{token}b") == [token]


def test_a_token_of_the_chosen_template_is_an_error():
    rows = [single("你好 <|user|>", "好"), single("<|im_start|>在吗", "在")]
    for name, wanted in (
        ("phi3_chat", ["error", "warning"]),
        ("qwen_chat", ["error", "warning"]),
        (None, ["warning", "warning"]),
    ):
        checks = Checks(own_tokens=tokens_of(prompt_templates()[name]) if name else frozenset())
        for row in rows:
            checks.add(row)
        assert [finding.severity for finding in checks.findings()] == wanted
