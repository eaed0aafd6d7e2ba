"""The effect of a recipe on a preset: the course's recipe makes exactly the course's edits."""

import difflib
import math
from pathlib import Path

import pytest

from core.config import recipe as recipes
from core.config.fit import Fit
from core.config.pace import BATCH
from core.config.proposal import FALLBACK
from core.config.settings import method
from core.config.settings.edit import apply
from core.config.settings.method import precision, prompt_template
from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import COURSE_PRESET, PromptTemplate, preset_text, prompt_templates
from core.ground.errors import BadInput
from core.ground.text import Text
from core.models.model import Model
from core.models.prompt import Prompt

REAL = 1_800_000_000
QUESTIONS = ["请介绍一下你自己", "你在实战营做什么"]
COURSE_EDITS = {
    ("-", 'pretrained_model_name_or_path = "internlm/internlm2-chat-1_8b"'),
    ("+", "pretrained_model_name_or_path = '/models/m'"),
    ("-", 'alpaca_en_path = "tatsu-lab/alpaca"'),
    ("+", "alpaca_en_path = '/data.json'"),
    ("-", 'evaluation_inputs = ["请给我介绍五个上海的景点", "Please tell me five scenic spots in Shanghai"]'),
    ("+", "evaluation_inputs = ['请介绍一下你自己', '你在实战营做什么']"),
    ("-", "dataset=dict(type=load_dataset, path=alpaca_en_path),"),
    ("+", 'dataset=dict(type=load_dataset, path="json", data_files=dict(train=alpaca_en_path)),'),
    ("-", "dataset_map_fn=alpaca_map_fn,"),
    ("+", "dataset_map_fn=None,"),
}
CPU_EDITS = {
    ("-", "from mmengine.optim import AmpOptimWrapper, CosineAnnealingLR, LinearLR"),
    ("+", "from mmengine.optim import OptimWrapper, AmpOptimWrapper, CosineAnnealingLR, LinearLR"),
    ("-", "torch_dtype=torch.float16,"),
    ("+", "torch_dtype=torch.float32,"),
    ("-", "quantization_config=dict("),
    ("-", "type=BitsAndBytesConfig,"),
    ("-", "load_in_4bit=True,"),
    ("-", "load_in_8bit=False,"),
    ("-", "llm_int8_threshold=6.0,"),
    ("-", "llm_int8_has_fp16_weight=False,"),
    ("-", "bnb_4bit_compute_dtype=torch.float16,"),
    ("-", "bnb_4bit_use_double_quant=True,"),
    ("-", 'bnb_4bit_quant_type="nf4",'),
    ("-", "),"),
    ("-", "type=AmpOptimWrapper,"),
    ("+", "type=OptimWrapper,"),
    ("-", 'loss_scale="dynamic",'),
    ("-", 'dtype="float16",'),
    ("-", 'dist_cfg=dict(backend="nccl"),'),
    ("+", "dist_cfg=dict(backend='gloo'),"),
}


INTERNLM2 = Prompt(template=prompt_templates()["internlm2_chat"], kind="named")


def made(
    recipe, *, preset=None, gpu=False, rows=150, parameters=2_000_000, data=Path("/data.json"), prompt=INTERNLM2, **more
):
    name = preset or FALLBACK[recipe]
    config = ConfigFile(preset_text(name))
    recipes.check_preset(config, name, recipe)
    model = Model(name="m", path=Path("/models/m"), parameters=parameters, prompt=prompt)
    chosen = {"model": model, "data": data, "rows": rows, "questions": QUESTIONS, "gpu": gpu, **more}
    changes = list(recipes.edits(recipe, config, **chosen))
    apply(config, changes)
    compile(config.text, "config.py", "exec")
    return config, changes


def changed(config, preset=COURSE_PRESET):
    lines = difflib.ndiff(preset_text(preset).splitlines(), config.text.splitlines())
    return {(line[0], line[2:].strip()) for line in lines if line[0] in "+-"}


def test_course_on_a_gpu_is_the_course():
    config, _ = made("course", gpu=True)
    assert changed(config) == COURSE_EDITS
    assert config.get("model.llm.quantization_config.load_in_4bit") is True


def test_course_on_a_cpu_is_the_course_and_what_a_cpu_needs():
    config, _ = made("course")
    assert changed(config) == COURSE_EDITS | CPU_EDITS


@pytest.mark.parametrize("gpu", [False, True])
def test_fast(gpu):
    config, changes = made("fast", gpu=gpu)
    assert config.get("pack_to_max_length") is False
    assert config.get("accumulative_counts") == 1
    assert config.get("custom_hooks[EvaluateChatHook].max_new_tokens") <= 128
    assert config.get("train_dataloader.dataset.map_num_proc") == 1
    updates = -(-150 // config.get("batch_size")) * config.get("max_epochs")
    assert 100 <= updates <= 300
    assert config.get("save_steps") < updates
    assert config.get("evaluation_freq") < config.get("save_steps")
    # Such a small model is never quantized.
    assert config.get("model.llm.quantization_config") is MISSING
    assert config.get("optim_wrapper.type") == Source("OptimWrapper")
    assert (config.get("env_cfg.dist_cfg.backend") == "gloo") is not gpu
    assert all(edit.why.zh and edit.why.en for edit in changes)


@pytest.mark.parametrize("rows", [1, 16, 17, 100, 7502])
def test_fast_with_any_number_of_rows(rows):
    config, _ = made("fast", rows=rows)
    assert config.get("max_epochs") >= 1
    assert config.get("save_steps") >= 1
    updates = -(-rows // config.get("batch_size")) * config.get("max_epochs")
    assert 100 <= updates
    assert updates <= 300 or config.get("max_epochs") == 1


def test_fast_on_a_real_model_is_qlora_with_a_smaller_step():
    tiny, _ = made("fast", gpu=True)
    real, _ = made("fast", gpu=True, parameters=REAL)
    assert real.get("model.llm.quantization_config.load_in_4bit") is True
    assert real.get("optim_wrapper.type") == Source("AmpOptimWrapper")
    assert real.get("lr") < tiny.get("lr")
    assert real.get("batch_size") < tiny.get("batch_size")


@pytest.mark.parametrize("recipe", ["course", "fast", "pretrain"])
def test_without_a_gpu_a_real_model_is_trained_in_bf16_if_the_processor_multiplies_it(tmp_path, recipe):
    data = tmp_path / "data.json"
    data.write_text("[]")
    config, changes = made(recipe, data=data, parameters=135_000_000, bf16=True)
    assert config.get("model.llm.quantization_config") is MISSING
    assert config.get("model.llm.torch_dtype") == Source("torch.bfloat16")
    assert config.get("model.llm.attn_implementation") == "eager"
    assert config.get("optim_wrapper.loss_scale") is MISSING
    assert precision(config) == "bf16"
    assert config.get("env_cfg.dist_cfg.backend") == "gloo"
    assert all(edit.why.zh and edit.why.en for edit in changes)
    for single in (made(recipe, data=data, bf16=True), made(recipe, data=data, parameters=135_000_000)):
        assert precision(single[0]) == "fp32"
        assert single[0].get("model.llm.torch_dtype") == Source("torch.float32")
        assert single[0].get("model.llm.attn_implementation") is MISSING


@pytest.mark.parametrize("rows", [1, 40, 150, 215, 446, 5000])
@pytest.mark.parametrize("parameters", [135_000_000, REAL])
def test_fast_teaches_a_real_model_in_sixty_updates_or_one_epoch_and_warms_up(rows, parameters):
    config, _ = made("fast", rows=rows, parameters=parameters)
    updates = -(-rows // config.get("batch_size")) * config.get("max_epochs")
    assert 30 < updates <= 60 or config.get("max_epochs") == 1
    assert config.get("warmup_ratio") * updates >= 2 or updates < 7
    # A small model needs a higher learning rate, a large one a smaller adapter.
    assert (config.get("lr"), config.get("model.lora.r")) == ((2e-4, 8) if parameters == REAL else (6e-4, 16))


@pytest.mark.parametrize(("rows", "cards"), [(215, 1), (320, 1), (705, 1), (3000, 1), (705, 4), (3000, 4)])
def test_where_the_base_is_kept_every_row_is_seen_twice_in_sixty_updates(rows, cards):
    config, _ = made("fast", rows=rows, parameters=500_000_000, kept=True, cards=cards)
    batch, accumulated, epochs = (config.get(name) for name in ("batch_size", "accumulative_counts", "max_epochs"))
    assert epochs == 2
    assert batch <= BATCH
    assert 45 <= math.ceil(rows / batch) * epochs / (accumulated * cards) <= 61
    # Nothing is saved or asked in the middle of an update.
    assert config.get("save_steps") % accumulated == config.get("evaluation_freq") % accumulated == 0


@pytest.mark.parametrize(("room", "batch", "accumulated"), [(16, 12, 2), (8, 8, 3), (2, 2, 12)])
def test_a_gpu_takes_as_many_rows_at_a_time_as_fit(room, batch, accumulated):
    fit = Fit(
        method="lora", half="bfloat16", batch_size=room, checkpointing=False, sdpa=False, why=Text("够", "it fits")
    )
    config, _ = made("fast", rows=705, parameters=500_000_000, kept=True, gpu=True, fit=fit)
    # 24 rows an update: each twice in 60.
    assert (config.get("batch_size"), config.get("accumulative_counts")) == (batch, accumulated)


@pytest.mark.parametrize(("rows", "epochs", "looks"), [(60, 7, 3), (150, 3, 3), (470, 1, 3), (500, 1, 6), (3000, 1, 6)])
def test_a_short_run_is_looked_at_less_often(rows, epochs, looks):
    config, _ = made("fast", rows=rows, parameters=REAL)
    iterations = math.ceil(rows / config.get("batch_size")) * config.get("max_epochs")
    assert config.get("max_epochs") == epochs
    assert math.ceil(iterations / config.get("evaluation_freq")) == looks


def test_where_the_base_is_kept_smaller_models_take_larger_steps():
    def rate(parameters, kept):
        return made("fast", parameters=parameters, kept=kept)[0].get("lr")

    sizes = (135_000_000, 500_000_000, REAL)
    assert [rate(size, kept=True) for size in sizes] == [7.5e-4, 4e-4, 2e-4]
    assert all(rate(size, kept=False) <= rate(size, kept=True) for size in sizes)
    # A toy learns as before.
    assert rate(2_000_000, kept=True) == rate(2_000_000, kept=False)


@pytest.mark.parametrize("gpu", [False, True])
def test_pretrain(tmp_path, gpu):
    data = tmp_path / "data.json"
    data.write_text("x" * 10_000)
    config, _ = made("pretrain", gpu=gpu, data=data, parameters=REAL)
    assert config.get("model.lora.r") == 64
    assert "from peft import LoraConfig" in config.text
    assert (config.get("model.llm.quantization_config") is not MISSING) is gpu
    assert ("BitsAndBytesConfig" in config.text) is gpu
    assert config.get("train_dataloader.dataset.dataset_map_fn") is None
    # A small corpus is repeated many times, 16 rows to an update; memory is only used sparingly on a GPU.
    paces = [config.get(name) for name in ("max_epochs", "batch_size", "accumulative_counts", "pack_to_max_length")]
    assert paces == [60 if gpu else 9, 4, 4, False]
    assert (config.get("model.use_activation_checkpointing") is False) is not gpu
    for name in ("torch", "LoraConfig"):
        assert sum(line.startswith(("import", "from")) and name in line for line in config.text.splitlines()) >= 1


@pytest.mark.parametrize(
    ("recipe", "preset"),
    [
        ("fast", "internlm2_1_8b_full_custom_pretrain_e1"),
        ("course", "internlm2_chat_1_8b_full_alpaca_e3"),
        ("pretrain", COURSE_PRESET),
    ],
)
def test_preset_that_a_recipe_does_not_fit(recipe, preset):
    with pytest.raises(BadInput) as refused:
        made(recipe, preset=preset)
    assert preset in str(refused.value)


def test_other_presets_that_fit():
    config, _ = made("course", preset="qwen1_5_1_8b_chat_qlora_alpaca_e3", gpu=True)
    assert config.get("pretrained_model_name_or_path") == "/models/m"
    assert config.get("train_dataloader.dataset.dataset_map_fn") is None


@pytest.mark.parametrize("cards", [0, 1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("rows", [30, 282, 3000])
def test_fast_warms_up_on_as_many_cards_as_there_are(rows, cards):
    preset = ConfigFile(preset_text(FALLBACK["fast"]))
    model = Model(name="m", path=Path("/models/m"), parameters=REAL, prompt=INTERNLM2)
    common = {"model": model, "data": Path("/data.json"), "questions": QUESTIONS, "gpu": True}
    apply(preset, list(recipes.edits("fast", preset, rows=rows, cards=cards, **common)))
    batch, epochs, end = (preset.get(name) for name in ("batch_size", "max_epochs", "param_scheduler[0].end"))
    per_epoch = math.ceil(math.ceil(rows / max(1, cards)) / batch)
    assert int(end * per_epoch) >= 2
    assert round(end / epochs, 3) in (0.1, 0.3)


WRITTEN = PromptTemplate(
    instruction="<|u|>{{x}}{input}\n<|a|>", suffix="<|e|>", sep="\n", stop_words=("<|e|>",), suffix_as_eos=True
)


@pytest.mark.parametrize("recipe", ["course", "fast"])
def test_the_models_own_prompt_is_written_with_its_reason(recipe):
    for template, kind in ((prompt_templates()["llama3_chat"], "named"), (WRITTEN, "derived")):
        config, changes = made(recipe, prompt=Prompt(template=template, kind=kind))
        assert prompt_template(config) == template
        (edit,) = [edit for edit in changes if edit.path == "prompt_template"]
        assert "chat_template" in edit.why.zh and "chat_template" in edit.why.en
        assert method.template(config) == (template.name or method.OWN)


def test_a_prompt_of_the_same_text_stays():
    """ChatML under another of XTuner's names is the same prompt."""
    config, changes = made("fast", prompt=Prompt(template=prompt_templates()["qwen_chat"], kind="named"))
    assert method.template(config) == "internlm2_chat"
    assert not [edit for edit in changes if edit.path == "prompt_template"]


def test_texts_are_wrapped_in_nothing(tmp_path):
    data = tmp_path / "data.json"
    data.write_text("[]")
    config, _ = made("pretrain", data=data, prompt=Prompt(template=WRITTEN, kind="derived"))
    assert "<|u|>" not in config.text
