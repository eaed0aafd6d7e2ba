"""A config is edited in place: everything else stays the same to the byte, and nothing is ever executed."""

import ast
import builtins
import gc
import re
import tracemalloc

import pytest

from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import COURSE_PRESET, preset_text, presets
from core.ground.errors import BadInput

SMALL = """\
# A comment at the top.
from mmengine.dataset import DefaultSampler

lr = 2e-4  # the learning rate
betas = (0.9, 0.999)
negative = -1
name = 'one ' 'two'
again = lr
questions = [
    '请介绍一下你自己',  # first
    'Please introduce yourself',
]

model = dict(
    type=SupervisedFinetune,
    llm=dict(torch_dtype=torch.float16, trust_remote_code=True),  # kept
    lora=dict(r=64, alpha=16),
)
inner = dict(path=name)
dataset = dict(dataset=inner, options={'deep': {'key': 1}})
hooks = [
    dict(type=A),
    dict(type=B, every=lr),
]
"""


def layout(text: str) -> str:
    """Return a text with the same word in the place of each word, number, string and comment."""
    for what, word in ((r"'[^'\n]*'|\"[^\"\n]*\"", "''"), (r"#.*", "#"), (r"\b[\w.-]+\b", "x")):
        text = re.sub(what, word, text)
    return text


def test_round_trip_of_all_presets():
    """One of each layout: six hundred presets have a hundred, and differ in names and numbers otherwise."""
    assert len(presets()) > 500
    different = {layout(path.read_text(encoding="utf-8")): name for name, path in presets().items()}
    assert len(different) > 50
    changed = [
        name
        for name in different.values()
        if ConfigFile(preset_text(name)).text.encode() != presets()[name].read_bytes()
    ]
    assert changed == []


def test_a_variable_that_the_file_multiplies():
    config = ConfigFile("size = 4\ncounts = 2\ncounts *= size\n")
    assert config.get("counts") == 8
    config.set("counts", 12)
    assert (config.text, config.get("counts")) == ("size = 4\ncounts = 3\ncounts *= size\n", 12)
    with pytest.raises(BadInput):
        config.set("counts", 10)


def test_round_trip_of_odd_files():
    for text in ("", "\n\n", "a = 1", "# only a comment\n", "a = 1\r\nb = 2\r\n", "if x:\n\ta = 1\n"):
        assert ConfigFile(text).text == text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("lr", 2e-4),
        ("betas", (0.9, 0.999)),
        ("betas[1]", 0.999),
        ("negative", -1),
        ("name", "one two"),
        ("again", 2e-4),
        ("questions[1]", "Please introduce yourself"),
        ("model.lora.r", 64),
        ("model.llm.trust_remote_code", True),
        ("model.llm.torch_dtype", Source("torch.float16")),
        ("model.lora", Source("dict(r=64, alpha=16)")),
        ("dataset.dataset.path", "one two"),
        ("dataset.options.deep.key", 1),
        ("hooks[1].every", 2e-4),
        ("missing", MISSING),
        ("model.missing", MISSING),
        ("model.missing.deeper", MISSING),
        ("hooks[7]", MISSING),
        ("questions.key", MISSING),
        ("lr.key", MISSING),
    ],
)
def test_get(path, value):
    assert ConfigFile(SMALL).get(path) == value


def test_names():
    config = ConfigFile(SMALL)
    assert config.names("again") == "lr"
    assert config.names("dataset.dataset.path") == "name"
    assert config.names("lr") is None
    assert config.names("model.type") is None


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        ("lr", 1e-3, "lr = 2e-4  # the", "lr = 0.001  # the"),
        ("again", 5, "again = lr", "again = 5"),
        ("name", 'it\'s "quoted"\n😀', "'one ' 'two'", "'it\\'s \"quoted\"\\n😀'"),
        ("model.lora.r", 16, "dict(r=64,", "dict(r=16,"),
        ("model.llm.torch_dtype", Source("torch.float32"), "torch.float16", "torch.float32"),
        ("questions[0]", "你是谁", "    '请介绍一下你自己',  # first", "    '你是谁',  # first"),
        ("dataset.dataset.path", "x", "inner = dict(path=name)", "inner = dict(path='x')"),
        ("dataset.options.deep.key", None, "{'key': 1}", "{'key': None}"),
        ("hooks[1].every", 7, "every=lr", "every=7"),
        # Missing entries are added to their dict in the style of its other entries.
        ("model.lora.dropout", 0.5, "alpha=16)", "alpha=16, dropout=0.5)"),
        ("model.quick", True, "alpha=16),\n)", "alpha=16),\n    quick=True,\n)"),
        ("hooks[0].new", 1, "dict(type=A)", "dict(type=A, new=1)"),
    ],
)
def test_set_changes_this_and_nothing_else(path, value, old, new):
    config = ConfigFile(SMALL)
    config.set(path, value)
    assert SMALL.count(old) == 1
    assert config.text == SMALL.replace(old, new)
    ast.parse(config.text)
    assert config.get(path) == value


@pytest.mark.parametrize("path", ["missing", "missing.deeper", "questions[9]", "lr.key", "hooks[9].x", "model.type.x"])
def test_set_of_what_has_no_place(path):
    config = ConfigFile(SMALL)
    with pytest.raises(BadInput) as refused:
        config.set(path, 1)
    assert path in str(refused.value)
    assert config.text == SMALL


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("model.lora.r", "dict(r=64, alpha=16)", "dict(alpha=16)"),
        ("model.lora.alpha", "dict(r=64, alpha=16)", "dict(r=64)"),
        ("hooks[0].type", "dict(type=A)", "dict()"),
        ("model.missing", "", ""),
        ("missing", "", ""),
        ("missing.deeper", "", ""),
        ("hooks[1].nothing", "", ""),
    ],
)
def test_delete(path, old, new):
    config = ConfigFile(SMALL)
    config.delete(path)
    assert config.text == (SMALL.replace(old, new) if old else SMALL)
    assert config.get(path) is MISSING


def test_delete_the_last_of_a_call_over_several_lines():
    config = ConfigFile(SMALL)
    config.delete("model.lora")
    assert config.text == SMALL.replace("    lora=dict(r=64, alpha=16),\n", "")


def test_import_once():
    config = ConfigFile(SMALL)
    for _ in range(2):
        config.add_import("mmengine.optim", "OptimWrapper")
        config.add_import("torch")
        config.add_import("mmengine.dataset", "DefaultSampler")
    assert config.text.count("from mmengine.optim import OptimWrapper") == 1
    assert config.text.count("import torch\n") == 1
    assert config.text.count("DefaultSampler") == 1
    assert config.text.endswith(SMALL[SMALL.index("lr = ") :])


def test_comments_and_order_survive_in_a_preset():
    before = preset_text(COURSE_PRESET)
    config = ConfigFile(before)
    config.set("lr", 1e-3)
    config.set("model.lora.r", 8)
    config.delete("model.llm.quantization_config")
    after = config.text.splitlines()
    comments = [line for line in before.splitlines() if line.lstrip().startswith("#")]
    assert comments
    assert [line for line in after if line.lstrip().startswith("#")] == comments
    compile(config.text, "config.py", "exec")


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = = 2\n", 2), ("a = (\n", 1), ("def f(:\n", 1), ("a = 1\n  b = 2\n", 2), ("a\0b", 1)],
)
def test_syntax_error_names_the_line(text, line):
    with pytest.raises(BadInput) as refused:
        ConfigFile(text)
    assert f"line {line}" in refused.value.text.en
    assert f"第 {line} 行" in refused.value.text.zh
    assert "\n" not in refused.value.text.en


def test_text_nested_too_deeply_is_refused():
    """The underlying parser would crash, and the server with it."""
    with pytest.raises(BadInput):
        ConfigFile("a = " + "(" * 3000 + ")" * 3000)


def test_nothing_is_executed(monkeypatch, tmp_path):
    monkeypatch.setattr(builtins, "exec", lambda *_: pytest.fail("executed"))
    out = tmp_path / "out"
    config = ConfigFile(f"x = open({str(out)!r}, 'w')\ny = __import__('os').getpid()\n")
    assert config.get("y") == Source("__import__('os').getpid()")
    assert not out.exists()


def test_trees_of_large_configs_are_not_kept():
    """A tree takes far more memory than its text: of imported configs of some megabytes, it would fill the machine."""
    large = SMALL + "# 说明\n" * 20_000
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert [ConfigFile(f"{large}# {number}\n").get("lr") for number in range(3)] == [2e-4] * 3
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 2**20
    finally:
        tracemalloc.stop()
    kept = ConfigFile(SMALL)._tree
    assert ConfigFile(SMALL)._tree is kept


def test_what_was_read_of_a_text_is_not_what_a_reader_made_of_it():
    """Readers of one text share its values; each may change its own copy, and edits are no other reader's."""
    one, other = ConfigFile(SMALL), ConfigFile(SMALL)
    one.get("questions").append("more")
    assert other.get("questions") == one.get("questions") == ["请介绍一下你自己", "Please introduce yourself"]
    one.set("lr", 1e-5)
    assert (one.get("lr"), one.get("hooks[B].every"), other.get("lr")) == (1e-5, 1e-5, 2e-4)
    assert other.get("nothing") is MISSING
