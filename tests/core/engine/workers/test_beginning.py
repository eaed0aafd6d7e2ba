"""What precedes a row: what the tokenizer adds, else BOS if the chat template has it, and never twice."""

from types import SimpleNamespace

import pytest

from core.engine.workers import beginning

TEXT = "{{ bos_token }}…"


class Tokenizer:
    """Letters are tokens; `adds` is what it puts before them."""

    def __init__(self, bos="^", template=None, adds=(), ends=()):
        self.bos_token, self.chat_template, self.adds, self.closes = bos, template, list(adds), list(ends)
        self.bos_token_id = ord(bos) if bos else None
        self.eos_token_id = ord("$")

    def __call__(self, text, add_special_tokens=True):
        ids = [ord(letter) for letter in text]
        return SimpleNamespace(input_ids=self.adds + ids + self.closes if add_special_tokens else ids)

    def encode(self, text, add_special_tokens=True):
        return self(text, add_special_tokens).input_ids


@pytest.mark.parametrize(
    ("tokenizer", "text", "seen"),
    [
        (Tokenizer(template=TEXT), "ab", "^ab"),
        (Tokenizer(template=TEXT), "^ab", "^ab"),
        (Tokenizer(template="^u"), "ab", "^ab"),
        (Tokenizer(template="u"), "ab", "ab"),
        (Tokenizer(), "ab", "^ab"),
        (Tokenizer(bos=None, template=TEXT), "ab", "ab"),
        (Tokenizer(template="u", adds=[94]), "ab", "^ab"),
        (Tokenizer(adds=[71, 83]), "ab", "GSab"),
        (Tokenizer(adds=[94], ends=[36]), "ab", "^ab"),
    ],
    ids=["written", "there", "literal", "not in it", "no template", "no bos", "added", "two", "ends too"],
)
def test_begun_in_training_evaluation_and_chat(monkeypatch, tokenizer, text, seen):
    monkeypatch.setattr(beginning, "_ORIGINAL", {})

    def xtuner(example, tokenizer, max_length):
        begins, _ = utils.get_bos_eos_token_ids(tokenizer)
        ids = begins + tokenizer.encode(example, add_special_tokens=False)
        return {"input_ids": ids[:max_length], "labels": [-100] * len(ids[:max_length])}

    utils = beginning.install(SimpleNamespace(encode_fn=xtuner, get_bos_eos_token_ids=None))
    wanted = [ord(letter) for letter in seen]
    assert beginning.begun(tokenizer, text) == wanted
    assert utils.encode_fn(text, tokenizer, 100)["input_ids"] == wanted
    cut = utils.encode_fn(text, tokenizer, 2)
    assert cut["input_ids"] == wanted[:2] and len(cut["labels"]) == 2
    assert utils.get_bos_eos_token_ids(tokenizer)[1] == [36]
    assert beginning.begin_texts(tokenizer).encode(text) == wanted
