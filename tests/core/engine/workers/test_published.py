"""The published prompt is proved on tokens, whatever the base model's tokenizer does with a text."""

import json

import pytest
import torch
from streamlit.testing.v1 import AppTest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from core.engine.presets import PromptTemplate, prompt_templates
from core.engine.workers import published
from core.engine.workers.beginning import begun
from core.export.prompt import exchanges
from core.ground.files import read_json, write_json
from core.publish import package as packages
from tests.core.engine.workers.tiny import llama

LLAMA2 = PromptTemplate(instruction="[INST] {input} [/INST]", suffix=" </s>", sep="<s>", suffix_as_eos=True)
OTHER = "{{ 'You are somebody else.' }}{% for m in messages %}{{ m['content'] }}{% endfor %}"


def base(directory, *, begins=True, spaced=False, **settings):
    """Write a model directory whose tokenizer has one token per character."""
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    letters = sorted({*map(chr, range(32, 127)), "\n", "▁", *"你好是谁"})
    words = {word: number for number, word in enumerate([*special, *letters])}
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    made.add_special_tokens(special)
    if spaced:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    if begins:
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    directory.mkdir()
    made.save(str(directory / "tokenizer.json"))
    said = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": OTHER, **settings}
    write_json(directory / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **said})
    return directory


def plan_of(base, template, *questions):
    prompts = [template.prompt([(question, None)]) for question in questions]
    prompt = {"template": template.to_json(), "exchanges": exchanges(template, questions)}
    return {"base": str(base), "prompts": prompts, "stop_words": list(template.stop_words), "prompt": prompt}


@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("begins", [False, True])
@pytest.mark.parametrize("template", [prompt_templates()["qwen_chat"], LLAMA2], ids=["qwen", "llama 2"])
def test_others_read_the_tokens_of_the_training(tmp_path, template, begins, spaced):
    """Also if a template is in the file that transformers reads first, or is one of several named ones."""
    place = base(
        tmp_path / "base", begins=begins, spaced=spaced, chat_template=[{"name": "default", "template": OTHER}]
    )
    plan = plan_of(place, template, "who?")
    (tmp_path / "adapter").mkdir()
    published.give_tokenizer(plan, tmp_path / "adapter")
    assert published.carried(plan, tmp_path / "adapter")
    trained, own = (AutoTokenizer.from_pretrained(directory) for directory in (place, tmp_path / "adapter"))
    for one in plan["prompt"]["exchanges"]:
        assert own.apply_chat_template(one["messages"], add_generation_prompt=True) == begun(trained, one["text"])


def test_no_other_template_is_left(tmp_path):
    place = base(tmp_path / "base")
    for name in ("chat_template.jinja", "chat_template.json"):
        (place / name).write_text(json.dumps({"chat_template": OTHER}))
    plan = plan_of(place, LLAMA2, "who?")
    merged = tmp_path / "merged"
    merged.mkdir()
    for file in place.iterdir():
        (merged / file.name).write_bytes(file.read_bytes())
    write_json(
        merged / "generation_config.json", {"top_p": 0.8, "do_sample": True, "repetition_penalty": 1.1, "kept": 1}
    )
    published.give_prompt(plan, merged)
    assert {file.name for file in merged.iterdir()} == {
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    }
    said = read_json(merged / "generation_config.json")
    assert said == {"kept": 1, "eos_token_id": [2], "pad_token_id": 2, "do_sample": False}


def test_stop_words_are_tokens_where_they_are_one(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(base(tmp_path / "base"))
    assert published.ends(tokenizer, ["<|im_end|>", "</s>", "<|unheard|>"]) == [2, 4]


def test_plain_texts_have_no_prompt(tmp_path):
    place = base(tmp_path / "base")
    plan = {"base": str(place), "prompt": None}
    published.give_tokenizer(plan, tmp_path)
    published.give_prompt(plan, place)
    assert not (tmp_path / "tokenizer_config.json").exists()
    assert published.carried(plan, place)
    assert published.proved(plan, place, None, 1, lambda *_: False) == (None, [])


@pytest.fixture
def merged(tmp_path):
    """A model with its published prompt, and the plan it was written by."""
    place = base(tmp_path / "base")
    plan = plan_of(place, LLAMA2, "who?", "你好")
    published.give_prompt(plan, place)
    model = llama(vocab_size=len(AutoTokenizer.from_pretrained(place)))
    model.generation_config = type(model.generation_config).from_pretrained(place)
    return plan, place, model


def test_the_proof(merged):
    plan, place, model = merged
    asked = []

    def same(number, said):
        asked.append((number, len(said)))
        return True

    found = published.proved(plan, place, model, 3, same)
    assert found == ({"rendered_equal": True, "answers_equal": True}, [])
    assert [number for number, _ in asked] == [0, 1]
    found, causes = published.proved(plan, place, model, 3, lambda number, _: number == 0)
    assert found == {"rendered_equal": True, "answers_equal": False}
    assert [(cause["kind"], cause["asked"]) for cause in causes] == [("answers", "你好")]


@pytest.mark.parametrize("template", [OTHER, "{{ raise_exception('not with me') }}", None])
def test_another_template_is_told(merged, template):
    plan, place, model = merged
    write_json(
        place / "tokenizer_config.json", {**read_json(place / "tokenizer_config.json"), "chat_template": template}
    )
    found, (cause,) = published.proved(plan, place, model, 3, lambda *_: True)
    assert found == {"rendered_equal": False, "answers_equal": False}
    assert cause["kind"] == "prompt"
    assert cause["trained"].startswith("<s>")
    assert cause["published"] != cause["trained"]
    assert not published.carried(plan, place)


# transformers loads DeepSpeed if installed, which causes warnings.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_app_of_a_package_asks_as_the_training_did(exported_run, tmp_path):
    """Started from the package only, whatever the base model's template says."""
    place, template = base(tmp_path / "package"), prompt_templates()["internlm2_chat"]
    tokenizer = AutoTokenizer.from_pretrained(place)
    prompt = begun(tokenizer, template.prompt([("who?", None)]))
    published.give_prompt(plan_of(place, template, "who?"), place)
    model = llama(vocab_size=len(tokenizer))
    model.save_pretrained(place)
    (place / "app.py").write_text(packages.app(exported_run, "merged"), encoding="utf-8")
    app = AppTest.from_file(str(place / "app.py"), default_timeout=300).run()
    app.chat_input[0].set_value("who?").run()
    assert not app.exception
    stops = published.ends(tokenizer, list(template.stop_words))
    with torch.inference_mode():
        said = model.generate(
            torch.tensor([prompt]), max_new_tokens=256, do_sample=False, eos_token_id=stops, pad_token_id=stops[0]
        )
    wanted = tokenizer.decode(said[0, len(prompt) :], skip_special_tokens=True).strip()
    assert app.chat_message[1].text[0].value == wanted
