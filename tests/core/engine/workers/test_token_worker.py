"""Which rows are counted, and that their lengths are the tokenizer's own."""

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from core.engine.workers import token_worker
from core.engine.workers.token_worker import encoder, sampled


class Others(PreTrainedTokenizerFast):
    """A tokenizer with the model's own code."""

    def _batch_encode_plus(self, *arguments, **options):
        found = super()._batch_encode_plus(*arguments, **options)
        found["input_ids"] = [[*ids, 0] for ids in found["input_ids"]]
        return found


@pytest.mark.parametrize("kind", (PreTrainedTokenizerFast, Others))
def test_the_quick_way_gives_the_lengths_of_a_call_whatever_the_file_says_of_cutting(kind):
    core = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.enable_truncation(3)
    core.enable_padding(length=9)
    tokenizer = kind(tokenizer_object=core, unk_token="[UNK]", pad_token="[UNK]")
    texts = ["", "a", "a b a b a", "a " * 50]
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    core = tokenizer.backend_tokenizer
    core.enable_truncation(3)
    core.enable_padding(length=9)
    assert list(map(len, encoder(tokenizer)(texts))) == lengths
    assert lengths[-1] >= 50


@pytest.mark.parametrize("name", ("data.json", "data.jsonl"))
def test_every_so_many_th_row_is_read_and_all_are_counted(name, tmp_path, monkeypatch):
    rows = [{"conversation": [{"input": str(number), "output": "答"}]} for number in range(20)]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    file = tmp_path / name
    file.write_text("\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]", encoding="utf-8")
    for at_once in (1, 100, 1 << 20):
        monkeypatch.setattr(token_worker, "READ_AT_ONCE", at_once)
        monkeypatch.setattr(token_worker, "BLOCK", min(at_once, 2000))
        found = list(sampled(file, 7))
        assert [row for _, _, taken in found for row in taken] == rows[::7]
        assert sum(number for number, _, _ in found) == 20
        size = file.stat().st_size
        assert 0.9 * size < sum(length for _, length, _ in found) <= size
