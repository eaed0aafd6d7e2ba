"""Every setting is found in the course's preset, and accepts exactly the values within its bounds."""

import math

import pytest

from core.config.settings.fields import BY_NAME, ESSENTIAL, FIELDS
from core.config.settings.method import OWN
from core.engine.config_file import ConfigFile, Source
from core.engine.presets import COURSE_PRESET, preset_text, system_templates
from core.ground.errors import BadInput

COURSE = {
    "method": "qlora",
    "task": "sft",
    "prompt_template": "internlm2_chat",
    "max_length": 2048,
    "pack_to_max_length": True,
    "batch_size": 1,
    "accumulative_counts": 16,
    "max_epochs": 3,
    "lr": 2e-4,
    "r": 64,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "quantisation": "nf4",
    "save_steps": 500,
    "evaluation_freq": 500,
    "evaluation_inputs": ["请给我介绍五个上海的景点", "Please tell me five scenic spots in Shanghai"],
    "SYSTEM": system_templates()["alpaca"],
    # The preset says `randomness = dict(seed=None, …)`.
    "seed": None,
    "precision": "fp16",
    "attn_implementation": None,
    "use_activation_checkpointing": True,
    "target_modules": None,
    "dataset_map_fn": "alpaca_map_fn",
    "use_varlen_attn": False,
    "shuffle_before_pack": True,
    "warmup_ratio": 0.03,
    "weight_decay": 0,
    "max_norm": 1,
    "max_iters": None,
    "save_total_limit": 2,
    "max_new_tokens": 600,
    "log_interval": 10,
    "map_num_proc": 32,
    "dataloader_num_workers": 0,
}
NUMBERS = [field for field in FIELDS if field.kind in ("int", "float")]


@pytest.fixture
def course():
    return ConfigFile(preset_text(COURSE_PRESET))


def test_values_of_the_course(course):
    assert {field.name: field.read(course) for field in FIELDS} == COURSE


def test_every_field_can_be_set(course):
    for field in FIELDS:
        if field.name == "max_iters":
            assert not field.there(course)
            continue
        value = {"int": 16, "float": 0.05, "bool": False, "text": "x", "list": ["x"]}.get(field.kind)
        for chosen in [one for one in reversed(field.options() or (value,)) if one != OWN]:
            field.write(course, chosen)
            assert field.read(course) == chosen, field.name
        if field.optional:
            field.write(course, None)
            assert field.read(course) is None, field.name
    compile(course.text, "config.py", "exec")


def test_every_field_is_told_in_both_languages():
    assert len(BY_NAME) == len(FIELDS)
    for field in FIELDS:
        assert field.label.zh
        assert field.label.en
        assert field.help.zh.endswith("。"), field.name
        assert field.help.en.endswith("."), field.name
        # The effect of a value, not a repetition of the label.
        assert len(field.help.zh) > 25, field.name
    assert {field.advanced for field in ESSENTIAL} == {False}


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_bounds(field):
    kind = {"int": int, "float": float}[field.kind]
    for value in (field.least, field.most, *field.picks):
        assert field.check(kind(value)) == value
    step = 1 if kind is int else 1e-9
    for value in (kind(field.least - step), kind(field.most + step), True, "1", [1], math.nan, math.inf):
        with pytest.raises(BadInput) as refused:
            field.check(value)
        assert field.name in str(refused.value)
    if field.optional:
        assert field.check(None) is None
    else:
        with pytest.raises(BadInput):
            field.check(None)
    if kind is int:
        with pytest.raises(BadInput):
            field.check(float(field.least))
    else:
        assert isinstance(field.check(0), float) if field.least == 0 else True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pack_to_max_length", 1),
        ("pack_to_max_length", "True"),
        ("SYSTEM", None),
        ("SYSTEM", 5),
        ("evaluation_inputs", []),
        ("evaluation_inputs", ["a", ""]),
        ("evaluation_inputs", ["a", " "]),
        ("evaluation_inputs", ["a", 5]),
        ("evaluation_inputs", "a"),
        ("evaluation_inputs", ("a",)),
        ("method", "best"),
        ("prompt_template", "nothing"),
        ("quantisation", 4),
    ],
)
def test_wrong_kind(name, value):
    with pytest.raises(BadInput):
        BY_NAME[name].check(value)


def test_what_peft_takes_besides_a_list_of_layers(course):
    field = BY_NAME["target_modules"]
    course.set("model.lora.target_modules", r".*\.wqkv")
    assert field.check(field.read(course)) == r".*\.wqkv"
    assert not field.editable(course)
    for wrong in ([], [""], 7):
        with pytest.raises(BadInput):
            field.check(wrong)


def test_a_setting_is_where_training_reads_it():
    """Not the variable of that name if the loader has a number of its own."""
    text = preset_text(COURSE_PRESET).replace("    batch_size=batch_size,\n", "    batch_size=7,\n")
    config = ConfigFile(text)
    assert BY_NAME["batch_size"].read(config) == 7
    BY_NAME["batch_size"].write(config, 9)
    assert "    batch_size=9,\n" in config.text
    assert "batch_size = 1  # per_device" in config.text


def test_what_a_file_does_not_have_has_no_place():
    config = ConfigFile("lr = 1e-4\nmodel = dict(llm=dict(a=1))\n")
    there = [field.name for field in FIELDS if field.there(config)]
    assert "r" not in there
    assert "evaluation_inputs" not in there
    assert "lr" in there
    with pytest.raises(BadInput) as refused:
        BY_NAME["r"].write(config, 8)
    assert "r" in str(refused.value)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("for i in range(3):\n    lr = lr * 2\n", "lr"),
        ("if True:\n    max_epochs = 9\n", "max_epochs"),
        ("del model['lora']['r']\n", "r"),
        ("model.pop('lora')\n", "r"),
        ("model.update(dict(lora=None))\n", "r"),
        ("with open('x') as f:\n    batch_size = int(f.read())\n", "batch_size"),
        ("try:\n    import x\n    save_steps = 1\nexcept ImportError:\n    pass\n", "save_steps"),
    ],
)
def test_what_code_changes_is_not_guessed_at(code, name):
    config = ConfigFile(preset_text(COURSE_PRESET) + "\n" + code)
    field = BY_NAME[name]
    assert isinstance(field.read(config), Source)
    assert not field.editable(config)
    before = config.text
    with pytest.raises(BadInput):
        field.write(config, {"int": 4, "float": 0.01}[field.kind])
    assert config.text == before
    others = [other for other in FIELDS if other.there(config) and other.name != name and other.name != "max_iters"]
    assert sum(other.editable(config) for other in others) > 20


def test_read_base():
    text = "from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n\nlr = 3e-4\n"
    config = ConfigFile(text)
    assert BY_NAME["lr"].read(config) == 3e-4
    BY_NAME["lr"].write(config, 5e-4)
    assert config.text == text.replace("3e-4", "0.0005")


def test_a_later_assignment_to_a_key_is_the_place():
    config = ConfigFile(preset_text(COURSE_PRESET) + "\nmodel['lora']['r'] = 8\nmodel.lora.lora_alpha = 4\n")
    assert (BY_NAME["r"].read(config), BY_NAME["lora_alpha"].read(config)) == (8, 4)
    BY_NAME["r"].write(config, 32)
    assert config.text.endswith("model['lora']['r'] = 32\nmodel.lora.lora_alpha = 4\n")
