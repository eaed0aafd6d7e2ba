"""XTuner's presets through the form: a sample here, all of them in `python -m benchmarks.presets`."""

from pathlib import Path

from benchmarks import presets as benchmark
from core.config.proposal import fits_machine, propose
from core.config.settings.fields import FIELDS
from core.engine.catalogue import FAMILIES, catalogue, search
from core.engine.config_file import ConfigFile
from core.engine.presets import COURSE_PRESET, preset_text, presets
from core.models.model import Model

# Some of each kind, and those whose files compute values.
SAMPLE = sorted(
    {
        *list(presets())[::40],
        COURSE_PRESET,
        "internlm2_1_8b_full_custom_pretrain_e1",
        "internlm2_chat_1_8b_dpo_full",
        "llama2_7b_full_pgbooks_400iters_sp4",
        "minicpm3_4b_full_alpaca_zh_e3",
        "qwen1_5_110b_chat_qlora_alpaca_e3_16k_2gpus",
    }
)


def test_every_preset_opens_with_the_fields_it_has():
    opened = {name: ConfigFile(preset_text(name)) for name in list(presets())[::24]}
    editable = {name: sum(field.editable(config) for field in FIELDS) for name, config in opened.items()}
    poor = {name for name, count in editable.items() if count < 15}
    assert all(catalogue()[name].kind == "other" or name.endswith("_hf") for name in poor), poor


def test_an_edit_changes_what_it_says_and_nothing_else():
    counts, wrong = benchmark.check(SAMPLE)
    assert wrong == {}
    assert counts["built_with_only_the_edits"] == counts["same_to_the_byte"] == len(SAMPLE) >= 20


def test_what_a_name_means():
    course = catalogue()[COURSE_PRESET]
    assert (course.model, course.method, course.kind, course.billions) == ("internlm2_chat_1_8b", "qlora", "sft", 1.8)
    assert course.chat
    assert course.data.en.startswith("Alpaca")
    assert [note.en for note in course.notes] == ["3 epochs"]
    dpo = catalogue()["internlm2_chat_7b_dpo_qlora_varlenattn"]
    assert (dpo.kind, dpo.method) == ("dpo", "qlora")
    assert catalogue()["qwen1_5_0_5b_chat_qlora_alpaca_e3"].billions == 0.5
    assert {preset.kind for preset in catalogue().values()} == {
        "sft", "pretrain", "dpo", "orpo", "reward", "vision", "other",
    }  # fmt: skip


def test_search():
    assert COURSE_PRESET in [preset.name for preset in search("internlm2 1_8b alpaca")]
    assert {preset.method for preset in search("", method="full")} == {"full"}
    assert {preset.family for preset in search("", architecture="Qwen2ForCausalLM")} <= {"qwen1_5", "qwen2"}
    assert search("医学") == search("medical")
    assert len(search("")) == len(presets())


def test_the_preset_that_is_proposed(tmp_path):
    for name, architecture, billions, wanted in (
        ("internlm2-chat-1_8b", "InternLM2ForCausalLM", 1.9, COURSE_PRESET),
        ("internlm2-1_8b", "InternLM2ForCausalLM", 1.9, "internlm2_1_8b_qlora_alpaca_e3"),
        ("Qwen1.5-7B-Chat", "Qwen2ForCausalLM", 7.7, "qwen1_5_7b_chat_qlora_alpaca_e3"),
        ("Meta-Llama-3-8B-Instruct", "LlamaForCausalLM", 8.0, "llama3_8b_instruct_qlora_alpaca_e3"),
        ("Llama-2-7b-chat-hf", "LlamaForCausalLM", 6.7, "llama2_7b_chat_qlora_alpaca_e3"),
        ("something", "NobodyKnowsForCausalLM", 3.0, COURSE_PRESET),
    ):
        model = Model(name=name, path=tmp_path / name, architecture=architecture, parameters=int(billions * 1e9))
        assert propose(model, "fast") == wanted
        pretrain = catalogue()[propose(model, "pretrain")]
        assert pretrain.kind == "pretrain"
        assert architecture not in sum(FAMILIES.values(), ()) or pretrain.fits(architecture)


def test_whether_a_preset_fits_is_asked_of_the_model_of_memory():
    """1.8 billion weights: 6.3 GB with QLoRA and 11.3 GB with LoRA were measured; full training takes 16 bytes each."""
    named = catalogue()
    qlora, full = named[COURSE_PRESET], named["internlm2_1_8b_full_custom_pretrain_e1"]
    for preset, least, enough in ((qlora, 6000, 7200), (full, 29_000, 36_000)):
        assert fits_machine(preset, None, enough), preset.name
        assert not fits_machine(preset, None, least), preset.name
    assert fits_machine(qlora, None, None) is None
    small = Model(name="m", path=Path("m"), architecture="InternLM2ForCausalLM", parameters=100_000_000)
    assert fits_machine(full, small, 8192)
    other = Model(name="m", path=Path("m"), architecture="LlamaForCausalLM", parameters=100_000_000)
    assert not fits_machine(full, other, 8192), "the preset is not for it: its own model counts"
