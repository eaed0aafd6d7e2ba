"""A prompt template in a model's own tokens: the engine's real tokenizers, trained here on a few sentences."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from core.data.tokens import Proof, prove
from core.engine.presets import PromptTemplate, prompt_templates
from core.models import model as found_models
from tests.fakes.model import write_model

TEXTS = [
    "你是谁？我是小明的小助手。",
    "Who are you? I am NICK's assistant.",
    "user\nassistant\n Be brief. Four. twice that?",
] * 9
CHATML = prompt_templates()["qwen_chat"]


@pytest.fixture
def model(workspace, tmp_path):
    """A model whose tokenizer has `specials` as single tokens; `across`: it merges letters across any boundary."""

    def make(specials, *, across=False, bos=None):
        place = write_model(tmp_path / "m")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.decoder = decoders.ByteLevel()
        if across:
            texts = ["userX"] * 50 + TEXTS
        else:
            texts, tokenizer.pre_tokenizer = TEXTS, pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = (
            pre_tokenizers.ByteLevel.alphabet() if not across else sorted(set("".join(texts) + "一加等于请直接回答\n"))
        )
        trainer = trainers.BpeTrainer(
            vocab_size=700, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.save(str(place / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": specials[0], "bos_token": bos}
        if bos:
            settings["chat_template"] = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
        (place / "tokenizer_config.json").write_text(json.dumps(settings))
        return found_models.link(workspace, place)

    return make


def test_the_models_own_marks(workspace, model):
    assert prove(workspace, model(["<|im_end|>", "<|im_start|>"]), CHATML) == Proof()


def test_marks_that_the_model_does_not_have(workspace, model):
    proof = prove(workspace, model(["</s>"]), CHATML)
    assert proof.split == ("<|im_end|>", "<|im_start|>")
    assert not proof.begins_twice


def test_a_row_that_begins_once_though_the_template_writes_the_beginning_too(workspace, model):
    written = PromptTemplate(instruction="<s>Q: {input}\nA: ", suffix="</s>", suffix_as_eos=True)
    made = model(["</s>", "<s>"], bos="<s>")
    assert not prove(workspace, made, written).begins_twice
    twice = PromptTemplate(instruction="<s><s>Q: {input}\nA: ", suffix="</s>", suffix_as_eos=True)
    assert prove(workspace, made, twice).begins_twice


def test_a_seam_that_the_whole_text_does_not_have(workspace, model):
    plain = PromptTemplate(instruction="user{input}", suffix="</s>", suffix_as_eos=True)
    joined = PromptTemplate(instruction="{input}user", suffix="X</s>", suffix_as_eos=True)
    made = model(["</s>"], across=True)
    assert prove(workspace, made, plain).trained is None or "user" not in (prove(workspace, made, plain).trained or "")
    proof = prove(workspace, made, joined)
    assert proof.trained != proof.whole
