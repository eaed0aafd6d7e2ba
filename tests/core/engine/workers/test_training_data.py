"""The tokens of a batch: what pads what."""

import json

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from core.engine.workers.training_data import lengths, padded_tokens


def test_texts_are_padded_apart_from_answers():
    # One batch of all: the longest pads every row, or every row of its kind.
    assert padded_tokens([300, 280, 20, 10], 4) == 4 * 300
    assert padded_tokens([300, 280, 20, 10], 4, [True, True, False, False]) == 2 * 300 + 2 * 20
    assert padded_tokens([300, 280], 4, [True, True]) == padded_tokens([300, 280], 4)


@pytest.mark.parametrize("packed", [False, True])
def test_a_text_is_known_by_its_first_token(tmp_path, packed):
    vocabulary = {"a": 0, "b": 1}
    words = Tokenizer(WordLevel(vocabulary, unk_token="a"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    rows = [("", "a text about a valley"), ("who are you", "an assistant")]
    data = [{"conversation": [{"input": asked, "output": said}]} for asked, said in rows]
    (tmp_path / "data.json").write_text(json.dumps(data))
    loaded = {
        "type": {"$name": "datasets.load_dataset"},
        "path": "json",
        "data_files": {"train": str(tmp_path / "data.json")},
    }
    found = lengths(
        {
            "type": {"$name": "xtuner.dataset.process_hf_dataset"},
            "dataset": loaded,
            "tokenizer": {
                "type": {"$name": "transformers.AutoTokenizer.from_pretrained"},
                "pretrained_model_name_or_path": str(tmp_path),
            },
            "max_length": 64,
            "pack_to_max_length": packed,
            "shuffle_before_pack": False,
            "map_num_proc": 1,
        },
        seed=1,
    )
    assert found.get("texts") == (None if packed else [True, False])
