"""Every setting is found in the course's preset, and takes what is within its bounds and nothing else."""

import math

import pytest

from core.config.fields import BY_NAME, FIELDS
from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import COURSE_PRESET, preset_text
from core.ground.errors import BadInput

COURSE = {
    "max_length": 2048,
    "pack_to_max_length": True,
    "batch_size": 1,
    "accumulative_counts": 16,
    "max_epochs": 3,
    "lr": 2e-4,
    "r": 64,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "save_steps": 500,
    "save_total_limit": 2,
    "evaluation_freq": 500,
    "evaluation_inputs": ["请给我介绍五个上海的景点", "Please tell me five scenic spots in Shanghai"],
    "SYSTEM": Source("SYSTEM_TEMPLATE.alpaca"),
    "max_new_tokens": 600,
    "warmup_ratio": 0.03,
    "map_num_proc": 32,
    "use_activation_checkpointing": True,
    "seed": None,
}


@pytest.fixture
def course():
    return ConfigFile(preset_text(COURSE_PRESET))


def test_values_of_the_course(course):
    found = {field.name: field.read(course) for field in FIELDS}
    # The preset says `randomness = dict(seed=None, …)`.
    assert found == COURSE


def test_every_field_can_be_set(course):
    for field in FIELDS:
        value = {"int": 16, "float": 0.05, "bool": False, "text": "x", "list": ["x"]}[field.kind]
        course.set(field.place(course), field.check(value))
        assert field.read(course) == value, field.name
    compile(course.text, "config.py", "exec")


def test_every_field_is_told_in_both_languages():
    assert len(BY_NAME) == len(FIELDS)
    for field in FIELDS:
        assert field.label.zh
        assert field.label.en
        assert field.help.zh.endswith("。"), field.name
        assert field.help.en.endswith("."), field.name


@pytest.mark.parametrize("field", [f for f in FIELDS if f.kind in ("int", "float")], ids=lambda field: field.name)
def test_bounds(field):
    kind = {"int": int, "float": float}[field.kind]
    for value in (field.least, field.most):
        assert field.check(kind(value)) == value
    step = 1 if kind is int else 1e-9
    for value in (kind(field.least - step), kind(field.most + step), True, "1", None, [1], math.nan, math.inf):
        with pytest.raises(BadInput) as refused:
            field.check(value)
        assert field.name in str(refused.value)
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
    ],
)
def test_wrong_kind(name, value):
    with pytest.raises(BadInput):
        BY_NAME[name].check(value)


def test_place_where_nothing_is(course):
    assert course.get(BY_NAME["max_new_tokens"].place(course)) is MISSING
