"""The lines shown to the reader of a config from elsewhere: exactly those that do more than set values."""

import pytest

from core.engine.plain_config import beyond
from core.engine.presets import COURSE_PRESET, preset_text

HOSTILE = [
    "import os",
    "import torch, os",
    "from os import system",
    "from . import map_fn",
    "from mmengine import *",
    "from torch.utils.collect_env import run",
    "from datasets import builder",
    "with read_base():\n    from .x import *",
    "open('/x', 'w')",
    "x = open('/x', 'w')",
    "x = [open('/x')]",
    "x = dict(a=[dict(b=open('/x'))])",
    "x = {'a': (lambda: 1)()}",
    "x = [n for n in range(3)]",
    "x = f'{open(1)}'",
    "x = y.__class__",
    "x = (1).real.bit_length",
    "x: int = open('/x')",
    "x += open('/x')",
    "x[0] = 1",
    "x.y = 1",
    "if True:\n    open('/x')",
    "if open('/x'):\n    x = 1",
    "x = 1 if open('/x') else 2",
    "x = open('/x') == 1",
    "x = -open('/x')",
    "x = 2 * open('/x')",
    "def f():\n    return 1",
    "class A:\n    x = 1",
    "for n in range(3):\n    x = n",
    "while True:\n    x = 1",
    "try:\n    x = 1\nfinally:\n    x = 2",
    "del x",
    "assert open('/x')",
    "(x := 1)",
    "_base_ = './x.py'",
    "custom_imports = dict(imports=['x'])",
    "x = dict(_base_='./x.py')",
    "x = dict(type='os.system', command='x')",
    "x = {'type': 'os.system'}",
    "x = dict(type=load_dataset, path='/x/script')",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_it_is_seen(text):
    assert beyond(f"a = 1\n{text}\nb = 2\n"), text
    assert {line.number for line in beyond(f"a = 1\n{text}\nb = 2\n")} <= set(range(2, 2 + len(text.splitlines())))


@pytest.mark.parametrize(
    "text",
    [
        "'''what it is'''",
        "import torch",
        "from transformers import AutoTokenizer, BitsAndBytesConfig",
        "from xtuner.dataset.map_fns import alpaca_map_fn, template_map_fn_factory",
        "from datasets import load_dataset",
        "a = b = 1\nc, d = 1, 'x'",
        "x = dict(type=AutoTokenizer.from_pretrained, a=[1, -2.5, None, (True, b'x')], **y)",
        "x = {'a': torch.float16, 'b': {1, 2}}",
        "x = 2 * y\nx *= 2\nx += [y]",
        "x = a if b > 1 else c\nif use_varlen_attn:\n    x += [dict(type=Hook)]",
        "x = dict(type=load_dataset, path='json', data_files=dict(train=y))",
    ],
)
def test_a_setting_is_none(text):
    assert beyond(text) == []


def test_what_xtuner_s_own_preset_has_is_not_shown():
    text = preset_text(COURSE_PRESET)
    changed = text.replace("lr = 2e-4", "lr = 1e-3\nopen('/x', 'w')")
    assert changed != text
    assert [line.text for line in beyond(changed, text)] == ["open('/x', 'w')"]
    assert [line.text for line in beyond(text + "\nwith read_base():\n    from .x import *\n", text)] == [
        "with read_base():",
        "    from .x import *",
    ]


@pytest.mark.parametrize("text", ["x = " + "1+" * 3000 + "1", "x = " + "-" * 1500 + "1", "x = a" + ".b" * 3000])
def test_what_nobody_can_follow_is_shown_whole(text):
    assert [line.number for line in beyond(f"a = 1\n{text}")] == [1, 2]
