"""A tokenizer read without transformers gives the tokens that transformers gives; one that might not is refused."""

import json

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from core.engine.presets import prompt_templates
from core.engine.workers import published, tokenizer_file, unneeded
from core.ground.files import read_json, write_json
from tests.core.engine.workers.test_published import base, plan_of

TEXTS = ("who?", " two  spaces", "<|im_start|>user\nwho?<|im_end|>\n", "你好", "")


def gpt2(directory, **settings):
    """Write a byte-level tokenizer as SmolLM2's: its special tokens in both files."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate([*special, *letters])}, merges=[]))
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    directory.mkdir()
    made.save(str(directory / "tokenizer.json"))
    (directory / "vocab.json").write_text(json.dumps(made.get_vocab(with_added_tokens=False)))
    (directory / "merges.txt").write_text("#version: 0.2\n")
    said = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>", **settings}
    write_json(
        directory / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, **said}
    )
    return directory


@pytest.mark.parametrize("write", [base, gpt2])
def test_the_tokens_of_transformers(tmp_path, write):
    place = write(tmp_path / "base")
    wanted, found = AutoTokenizer.from_pretrained(place), tokenizer_file.read(place)
    for text in TEXTS:
        assert found(text).input_ids == wanted(text).input_ids
        assert found(text, add_special_tokens=False).input_ids == wanted(text, add_special_tokens=False).input_ids
    for name in ("bos_token", "bos_token_id", "eos_token_id", "unk_token_id", "pad_token_id", "chat_template"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert found.kind == type(wanted).__name__
    for word in ("<|im_end|>", "<|unheard|>"):
        assert found.convert_tokens_to_ids(word) == wanted.convert_tokens_to_ids(word)
    assert found.convert_ids_to_tokens([1, 5]) == wanted.convert_ids_to_tokens([1, 5])
    template = "{{ bos_token }}{% for m in messages %}{{ m['content'] + eos_token }}\n{% endfor %}"
    turns = [{"role": "user", "content": "who? 12"}, {"role": "assistant", "content": "I"}]
    given = {"chat_template": template, "add_generation_prompt": True}
    assert found.apply_chat_template(turns, **given) == wanted.apply_chat_template(turns, **given)


@pytest.mark.parametrize("write", [base, gpt2])
def test_the_same_files_are_published(tmp_path, write):
    """With transformers and where it is shut out: prompt, settings and stop words."""
    place = write(tmp_path / "base")
    plan = plan_of(place, prompt_templates()["qwen_chat"], "who?")
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    published.give_tokenizer(plan, tmp_path / "with")
    published.give_prompt(plan, tmp_path / "with")
    published._tokenizer.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(unneeded.sys.modules, "transformers", None)
        published.give_tokenizer(plan, tmp_path / "without")
        published.give_prompt(plan, tmp_path / "without")
    published._tokenizer.cache_clear()
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / name).iterdir()} for name in ("with", "without"))
    assert one == two


@pytest.mark.parametrize(
    "changed",
    [
        {"tokenizer_class": "LlamaTokenizer"},
        {"auto_map": {"AutoTokenizer": ["a.B", None]}},
        {"pad_token": "<|pad|>"},
        {"eos_token": None},
        {"additional_special_tokens": ["w"]},
        {"added_tokens_decoder": {"7": {"content": "more", "special": True}}},
    ],
    ids=str,
)
def test_what_transformers_might_change_is_refused(tmp_path, changed):
    place = gpt2(tmp_path / "base")
    assert tokenizer_file.read(place) is not None
    write_json(place / "tokenizer_config.json", {**read_json(place / "tokenizer_config.json"), **changed})
    assert tokenizer_file.read(place) is None


def test_a_file_beside_it_counts(tmp_path):
    place = gpt2(tmp_path / "base")
    write_json(place / "special_tokens_map.json", {"eos_token": "<|endoftext|>"})
    assert tokenizer_file.read(place) is None
    (place / "special_tokens_map.json").unlink()
    write_json(place / "added_tokens.json", {"more": 999})
    assert tokenizer_file.read(place) is None
    (place / "added_tokens.json").unlink()
    assert tokenizer_file.read(place) is not None
    # transformers takes the template from here.
    (place / "chat_template.jinja").write_text("{{ messages }}")
    assert tokenizer_file.read(place) is None


def test_a_space_that_the_config_does_not_name_is_transformers_to_set(tmp_path):
    place = gpt2(tmp_path / "base", tokenizer_class="PreTrainedTokenizerFast")
    content = read_json(place / "tokenizer.json")
    content["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    write_json(place / "tokenizer.json", content)
    config = read_json(place / "tokenizer_config.json")
    write_json(place / "tokenizer_config.json", {**config, "add_prefix_space": True})
    assert tokenizer_file.read(place) is not None
    write_json(place / "tokenizer_config.json", {k: v for k, v in config.items() if k != "add_prefix_space"})
    assert tokenizer_file.read(place) is None
