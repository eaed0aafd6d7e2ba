"""The package that is pushed: whole, and with nothing in it that tells whose machine it was."""

import ast
import json
import os
import shutil
from pathlib import Path

import pytest

from core.engine.model import look
from core.ground.errors import BadInput
from core.report import publish


def test_package(workspace, exported_run):
    for target in publish.TARGETS:
        made = publish.package(exported_run, target)
        assert made.path == exported_run.path / f"package-{target}"
        assert {"app.py", "requirements.txt", "README.md", ".gitattributes", "config.json", "model.safetensors"} <= set(
            made.files
        )
        assert "export.json" not in made.files
        assert sorted(str(p.relative_to(made.path)) for p in made.path.rglob("*") if p.is_file()) == made.files
        assert look(made.path).whole
        card = (made.path / "README.md").read_text(encoding="utf-8")
        assert card.startswith("---\n")
        assert "小明" in card
        for name in ("README.md", "app.py", "requirements.txt"):
            text = (made.path / name).read_text(encoding="utf-8")
            assert str(workspace.root) not in text
        assert "*.safetensors filter=lfs" in (made.path / ".gitattributes").read_text()
        requirements = (made.path / "requirements.txt").read_text()
        assert "None" not in requirements
        assert "transformers==" in requirements


def test_app_of_any_nickname(exported_run):
    exported_run.facts["dataset"]["nickname"] = '"""\'\\{x}'
    made = publish.package(exported_run, "openxlab")
    assert "![" not in publish.card(exported_run, "openxlab", "![x](y)").replace("!\\[", "")
    tree = ast.parse((made.path / "app.py").read_text(encoding="utf-8"))
    constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert '"""\'\\{x}的小助手' in constants
    assert exported_run.template.instruction in constants
    assert "{input}" in constants


def test_not_merged_yet(exported_run):
    shutil.rmtree(exported_run.merged)
    with pytest.raises(BadInput) as refused:
        publish.package(exported_run, "openxlab")
    assert "export merge" in str(refused.value)
    assert not (exported_run.path / "package-openxlab").exists()


def test_unknown_target(exported_run):
    with pytest.raises(BadInput) as refused:
        publish.package(exported_run, "elsewhere")
    assert "huggingface" in str(refused.value)


def test_taken_place_is_left_alone(exported_run, tmp_path):
    out = tmp_path / "package"
    publish.package(exported_run, "modelscope", out)
    (out / "mine").write_text("x")
    with pytest.raises(BadInput):
        publish.package(exported_run, "modelscope", out)
    assert (out / "mine").read_text() == "x"


def test_place_that_cannot_be_written_to(exported_run, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below", "/proc/studio"):
        with pytest.raises(BadInput):
            publish.package(exported_run, "openxlab", tmp_path / out)
    assert (tmp_path / "file").read_text() == "mine"
    assert "file" in os.listdir(tmp_path)


def test_card_tells_the_scores(exported_run):
    card = publish.card(exported_run, "huggingface", "title")
    scores = json.loads((exported_run.path / "scores.json").read_text(encoding="utf-8"))
    assert f"| {scores['identity']['base']:.2f} | {scores['identity']['tuned']:.2f} |" in card
    assert str(Path(exported_run.path).parent.parent) not in card
