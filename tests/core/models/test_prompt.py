"""The prompt derived from a model's own chat template: of known families, unknown ones, malicious ones."""

import json
import random

import pytest

from benchmarks.peers.spent import spent
from core.models import chat_template, prompt, template_sandbox
from core.models.chat_template import ChatTemplate, Exchange
from tests.core.models.families import CHATML, FAMILIES, QWEN25

ENDS = {"bos_token": "<s>", "eos_token": "</s>"}


def written(text: str, *tokens: str, special: dict | None = None, kind: str = "") -> prompt.Prompt:
    special = ENDS if special is None else special
    own = ChatTemplate(text=text, special=special, tokens=frozenset({*special.values(), *tokens}))
    return prompt.prompt_of(own, kind)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name):
    family = FAMILIES[name]
    found = prompt.prompt_of(family.own(), family.kind)
    assert (found.kind, found.template.name) == (family.gives, family.name), found.why
    parts = found.template.parts
    assert {key: parts[key] for key in family.parts} == family.parts
    assert (found.default_system, found.thinking) == (family.default, family.thinking)
    assert bool(found.problems) is (family.gives == "base")
    if family.gives != "base":
        assert (found.system, found.rounds) == (family.system, family.rounds)


@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].gives != "base"])
def test_what_is_asked_is_what_the_model_itself_would_be_asked(name):
    """The text before an answer is the same in both ways, except for default system prompts and opened thinking."""
    family = FAMILIES[name]
    found = prompt.prompt_of(family.own(), family.kind)
    (own,) = chat_template.render(family.own(), [Exchange(turns=[("你好", None)])])
    asked = found.template.prompt([("你好", None)])
    thought = own.text.removesuffix(found.thinking)
    assert thought.endswith(asked) or f"{thought}\n".endswith(asked)


def test_a_system_prompt_of_the_templates_own_is_told_and_left_out():
    found = written(QWEN25, "<|im_start|>", "<|im_end|>", special={"eos_token": "<|im_end|>"}, kind="qwen2")
    assert "Alibaba" in found.default_system
    assert "Alibaba" not in json.dumps(found.template.parts)
    assert found.own.count("Alibaba") == 1 and "Alibaba" not in found.ours


@pytest.mark.parametrize("seed", range(25))
def test_a_template_that_nobody_has_seen(seed):
    """Random markers, ends and gaps: the derived template writes every exchange like the original."""
    draw = random.Random(seed)
    mark = lambda word: draw.choice(["<|{}|>", "[{}]", "### {}:", "<{}>", "«{}»", "{}:"]).format(word)  # noqa: E731
    user, bot, system = (mark(draw.choice(words)) for words in (("user", "Q", "人"), ("bot", "A", "答"), ("sys", "S")))
    end = draw.choice(["</s>", "<|eot|>", "[END]", " </s>", "\n<|eot|>"])
    gap, open_, after = draw.choice(["\n", "", "\n\n", " "]), draw.choice(["\n", "", " "]), draw.choice(["\n", ""])
    bos = draw.choice(["{{ bos_token }}", ""])
    text = (
        f"{bos}{{%- for m in messages -%}}"
        f"{{%- if m.role == 'system' -%}}{{{{ {system!r} + {open_!r} + m.content + {gap!r} }}}}"
        f"{{%- elif m.role == 'user' -%}}{{{{ {user!r} + {open_!r} + m.content + {gap!r} }}}}"
        f"{{%- else -%}}{{{{ {bot!r} + {after!r} + m.content + {end!r} + {gap!r} }}}}{{%- endif -%}}{{%- endfor -%}}"
        f"{{%- if add_generation_prompt -%}}{{{{ {bot!r} + {after!r} }}}}{{%- endif -%}}"
    )
    found = written(text, "<|eot|>")
    assert found.known, (text, found.why)
    exchanges = [
        Exchange(turns=[("a{b}", None)]),
        Exchange(turns=[("为什么？", "因为{{}}"), ("x\n\ny", "1"), ("最后", None)]),
        Exchange(turns=[("a", "b"), ("c", None)], system="规则"),
    ]
    own = ChatTemplate(text=text, special=ENDS, tokens=frozenset({"<s>", "</s>", "<|eot|>"}))
    for exchange, rendered in zip(exchanges, chat_template.render(own, exchanges), strict=True):
        asked = found.template.prompt(exchange.turns, exchange.system)
        assert rendered.text == ("<s>" if bos else "") + asked
    assert found.template.stop_words == (end.strip(),)


def test_braces_of_a_template_are_kept_from_format():
    text = (
        "{% for m in messages %}{{ '{' + m.role + '} ' + m.content + ('</s>\n' if m.role == 'assistant' else '\n') }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '{assistant} ' }}{% endif %}"
    )
    found = written(text)
    assert found.kind == "derived"
    assert found.template.prompt([("{input}", "{}"), ("b", None)]) == (
        "{user} {input}\n{assistant} {}</s>\n{user} b\n{assistant} "
    )
    # XTuner's evaluation formats a system prompt twice, so a brace next to it is impossible.
    assert not found.system


def test_rounds_are_numbered_as_xtuner_numbers_them():
    found = prompt.prompt_of(FAMILIES["chatglm 2"].own())
    assert found.template.prompt([("a", "b"), ("c", "d"), ("e", None)]).endswith("[Round 3]\n\n问：e\n\n答：")


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i * j %}{% endfor %}{% endfor %}",
        "{% for i in range(10**9) %}x{% endfor %}",
        "{% for i in range(99999) %}{{ messages[0].content * 100 }}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ messages[0].__class__.__mro__ }}",
        "{{ raise_exception('no') }}",
        "{% for %}",
        "{{ messages[0].content | upper }}",
        "nothing of what is asked",
        "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
    ],
    ids=["loops", "range", "long", "large", "escapes", "raises", "syntax", "changes", "constant", "repeats"],
)
def test_a_template_that_fits_no_form_is_told_and_does_no_harm(text):
    # Of this alone, and not of what earlier tests have started.
    took = spent(lambda: {"found": written(text)})
    assert took["cpu_seconds"] < 2 * template_sandbox.CPU_SECONDS
    found = took["found"]
    assert found.kind == "unknown" and found.template.name == "default"
    (told,) = found.problems
    assert told.severity == "warning" and told.where == "chat_template"
    assert "XTuner" in told.message.zh and "prompt_template" in told.hint.en


def test_a_base_model_is_told_what_that_means():
    found = prompt.prompt_of(FAMILIES["a base"].own(), "llama")
    (told,) = found.problems
    assert "基座" in told.message.zh and "base model" in told.message.en and "pretrain" in told.hint.en
    # It ends with the tokenizer's own end token, in several turns too.
    assert found.template.prompt([("a", "b"), ("c", None)]) == "<|User|>:a\n<|Bot|>:b</s>\n<s><|User|>:c\n<|Bot|>:"


@pytest.mark.parametrize("place", ["config", "list", "jinja", "json", "dicts"])
def test_where_a_template_stands(tmp_path, place):
    settings = {
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
    }
    if place == "config":
        settings["chat_template"] = CHATML
    elif place == "list":
        settings["chat_template"] = [{"name": "rag", "template": "x"}, {"name": "default", "template": CHATML}]
    elif place == "jinja":
        settings["chat_template"] = "overridden"
        (tmp_path / "chat_template.jinja").write_text(CHATML)
    elif place == "json":
        (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": CHATML}))
    else:
        settings |= {
            "chat_template": CHATML,
            "eos_token": {"content": "<|im_end|>", "lstrip": False},
            "bos_token": None,
        }
        settings["additional_special_tokens"] = []
        added = [{"id": 5, "content": token, "special": True} for token in ("<|im_start|>", "<|im_end|>")]
        (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
        (tmp_path / "special_tokens_map.json").write_text(json.dumps({"bos_token": "<s>"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    own = chat_template.read(tmp_path)
    assert (own.bos, own.eos) == ("" if place == "dicts" else "<s>", "<|im_end|>")
    assert {"<|im_start|>", "<|im_end|>"} <= own.tokens
    assert prompt.find(tmp_path, "internlm2").template.name == "internlm2_chat"


def test_what_was_found_is_kept_until_the_files_change(tmp_path):
    place, cache = tmp_path / "model", tmp_path / "cache"
    place.mkdir()
    settings = {"eos_token": "</s>", "chat_template": FAMILIES["mistral"].template, "bos_token": "<s>"}
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    first = prompt.find(place, "mistral", cache)
    prompt._kept.cache_clear()
    assert prompt.find(place, "mistral", cache) == first
    assert len(list((cache / "prompts").iterdir())) == 1
    settings["chat_template"] = FAMILIES["vicuna"].template
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    assert prompt.find(place, "mistral", cache).template.instruction == "USER: {input} ASSISTANT:"
