"""Obstacles to training that are visible in a config's text: missing commas, modules, paths of another machine."""

import pytest

from core.config import config as configs
from core.config import exchange
from core.config.check import check
from core.engine import consent, interpreter
from core.engine.config_file import ConfigFile, SyntaxRefusal
from core.ground.errors import BadInput


def written(workspace, config, old, new):
    """Return the config with a part of its text replaced as by an external editor, and trusted."""
    text = config.text()
    assert old in text
    config.file.write_text(text.replace(old, new), encoding="utf-8")
    consent.agree(workspace, config.text())
    return configs.find(workspace, config.name)


def questions(workspace, config, code):
    """Return the config with its evaluation questions written as `code`."""
    file = ConfigFile(config.text())
    name = file.names("custom_hooks[EvaluateChatHook].evaluation_inputs") or "evaluation_inputs"
    start = file.text.index(f"{name} = ")
    end = file.text.index("]", start) + 1
    return written(workspace, config, file.text[start:end], f"{name} = {code}")


@pytest.mark.parametrize(
    ("code", "fixed"),
    [
        ("['请介绍一下你自己' '你是谁']", ["请介绍一下你自己", "你是谁"]),
        ("[\n    'a',\n    'b'\n    'c',\n    'd',\n]", ["a", "b", "c", "d"]),
        ("['a' \"b\" 'c']", ["a", "b", "c"]),
    ],
)
def test_questions_without_a_comma_between_them(workspace, config, code, fixed):
    (problem,) = check(workspace, questions(workspace, config, code))
    assert (problem.severity, problem.where) == ("warning", "evaluation_inputs")
    assert problem.fix == {"evaluation_inputs": fixed}
    assert f"{fixed[-2]}" in problem.message.zh
    configs.change(workspace, config.name, problem.fix)
    mended = configs.find(workspace, config.name)
    assert mended.questions() == fixed
    assert check(workspace, mended) == []


@pytest.mark.parametrize("code", ["['a', 'b']", "['a b', 'c,d']", "[f'{1}' 'x', 'y']", "['a' + 'b']"])
def test_questions_that_are_as_they_are_meant(workspace, config, code):
    assert check(workspace, questions(workspace, config, code)) == []


@pytest.mark.parametrize(
    "line",
    [
        "from map_fn import custom_map_fn",
        "import my_own_hooks.early",
        "with read_base():\n    from .map_fn import custom_map_fn",
        "from ..configs.base import *",
    ],
)
def test_a_module_that_did_not_come_along(workspace, config, line):
    changed = written(workspace, config, "import torch", f"import torch\nfrom mmengine.config import read_base\n{line}")
    problem = next(problem for problem in check(workspace, changed) if problem.where == "config.py")
    assert problem.severity == "error"
    name = line.split("from ")[-1].split(" import")[0].removeprefix("import ")
    assert name in problem.message.zh
    with pytest.raises(BadInput, match=name.lstrip(".").split(".")[0]):
        exchange.take(workspace, "my.py", changed.text(), model="demo", dataset="assistant")
    assert not workspace.config("my").exists()


def test_modules_that_the_engine_has(workspace, config):
    changed = written(
        workspace, config, "import torch", "import os, json\nimport torch\nimport numpy as np\nimport xml.etree"
    )
    assert check(workspace, changed) == []


def test_with_an_engine_of_ones_own_only_what_is_surely_missing_counts(workspace, config, tmp_path, monkeypatch):
    monkeypatch.setattr(interpreter, "python", lambda _: "/somewhere/bin/python")
    changed = written(workspace, config, "import torch", "import torch\nimport their_package\nimport map_fn")
    file = ConfigFile(changed.text())
    from core.config.imports import not_found

    assert not_found(workspace, file) == []
    (tmp_path / "map_fn.py").write_text("")
    assert not_found(workspace, file, tmp_path) == ["map_fn"]


def test_a_windows_path_is_told_as_one():
    with pytest.raises(SyntaxRefusal) as refused:
        ConfigFile('data_path = "C:\\Users\\x.json"\n')
    assert "Windows" in refused.value.text.zh
    assert "Windows" in refused.value.text.en
    assert refused.value.line == 1
