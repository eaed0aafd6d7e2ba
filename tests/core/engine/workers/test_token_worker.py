"""The rows that are counted, and that the quick way to their lengths gives those of the tokenizer itself."""

import json
from array import array
from types import SimpleNamespace

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from core.engine.workers import token_worker
from core.engine.workers.token_worker import encoder, sampled


class Others(PreTrainedTokenizerFast):
    """One whose model brings code of its own."""

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


def test_counting_by_pieces_gives_what_the_tokenizer_does(tmp_path, monkeypatch):
    core = Tokenizer(models.BPE({"a": 0, "b": 1, "Ġ": 2, "Ġa": 3}, [("Ġ", "a")]))
    han = pre_tokenizers.Split(Regex(r"\p{Han}"), "isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence([han, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core)
    data = tmp_path / "data.jsonl"
    rows = [{"conversation": [{"input": "a" * number, "output": "b a" * number}]} for number in range(1, 500)]
    data.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr(token_worker, "BLOCK", 100)
    encoding = SimpleNamespace(get_bos_eos_token_ids=lambda _: ([], [1]))
    asked = []
    by_pieces = token_worker.piecewise
    monkeypatch.setattr(token_worker, "piecewise", lambda core: asked.append(by_pieces(core)) or asked[-1])
    for least in (1 << 30, 0):
        monkeypatch.setattr(token_worker, "LEAST_BYTES", least)
        options = SimpleNamespace(data=data, result=tmp_path / "lengths", every=1)
        token_worker.count(options, tokenizer, encoding, None, None)
        lengths = array("I")
        lengths.frombytes(options.result.read_bytes())
        assert lengths.tolist() == [3 * number + 1 for number in range(1, 500)]
    assert len(asked) == 1 and asked[0] is not None
