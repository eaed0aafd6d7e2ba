"""The package to push is complete and contains nothing that reveals the machine."""

import ast
import json
import os
import shutil
from pathlib import Path

import pytest

from core.ground.errors import BadInput
from core.ground.files import read_json, write_json
from core.models.model import look
from core.publish import card
from core.publish import package as packages
from tests.conftest import of_model, swap_code


def test_package(workspace, exported_run):
    for target in packages.TARGETS:
        made = packages.package(workspace, exported_run, target)
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
        assert "streamlit==" in requirements
        assert "transformers==" in requirements


def test_app_of_any_nickname(workspace, exported_run):
    exported_run.facts.dataset.made["nickname"] = '"""\'\\{x}'
    made = packages.package(workspace, exported_run, "openxlab")
    tree = ast.parse((made.path / "app.py").read_text(encoding="utf-8"))
    constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert '"""\'\\{x}的小助手' in constants
    assert set(exported_run.template.stop_words) <= constants


def test_not_merged_yet(workspace, exported_run):
    shutil.rmtree(exported_run.merged)
    with pytest.raises(BadInput) as refused:
        packages.package(workspace, exported_run, "openxlab")
    assert "export merge" in str(refused.value)
    assert not (exported_run.path / "package-openxlab").exists()


@pytest.mark.parametrize("what", packages.WHATS)
def test_the_app_asks_by_the_chat_template_or_by_the_text_it_is_given(exported_run, what):
    """A model exported by an earlier version has the base model's chat template, which may not be the trained one."""
    assert "INSTRUCTION = None\n" in packages.app(exported_run, what)
    directory = exported_run.merged if what == "merged" else exported_run.adapter
    made = read_json(directory / "export.json")
    del made["prompt"]
    write_json(directory / "export.json", made)
    assert f"INSTRUCTION = {exported_run.template.instruction!r}\n" in packages.app(exported_run, what)


@pytest.mark.parametrize("what", packages.WHATS)
def test_the_code_in_it_is_what_was_agreed_to(workspace, exported_run, owners, what):
    agreed = {file.name: file.read_bytes() for file in owners.glob("*.py")}
    swap_code(owners)
    (owners / "evil.py").write_text("")
    made = packages.package(workspace, exported_run, "modelscope", what=what)
    code = {name: (made.path / name).read_bytes() for name in made.files if name.endswith(".py") and name != "app.py"}
    # An adapter has no code.
    assert code == (agreed if what == "merged" else {})
    assert "CODE = True\n" in (made.path / "app.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("what", packages.WHATS)
def test_an_app_of_a_model_without_code_runs_none(exported_run, what):
    """Its base model is downloaded where the app runs, and may have code by then that nobody has seen."""
    for directory in (exported_run.merged, exported_run.model_path):
        for file in directory.glob("*.py"):
            file.unlink()
    source = packages.app(exported_run, what)
    assert "CODE = False\n" in source
    loads = [node for node in ast.walk(ast.parse(source)) if getattr(node, "arg", "") == "trust_remote_code"]
    assert len(loads) >= 3
    assert all(isinstance(node.value, ast.Name) and node.value.id == "CODE" for node in loads)


def test_unknown_target(workspace, exported_run):
    with pytest.raises(BadInput) as refused:
        packages.package(workspace, exported_run, "elsewhere")
    assert "huggingface" in str(refused.value)


def test_taken_place_is_left_alone(workspace, exported_run, tmp_path):
    out = tmp_path / "package"
    packages.package(workspace, exported_run, "modelscope", out)
    (out / "mine").write_text("x")
    with pytest.raises(BadInput):
        packages.package(workspace, exported_run, "modelscope", out)
    assert (out / "mine").read_text() == "x"


def test_place_that_cannot_be_written_to(workspace, exported_run, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in ("file", "file/below", "/proc/studio"):
        with pytest.raises(BadInput):
            packages.package(workspace, exported_run, "openxlab", tmp_path / out)
    assert (tmp_path / "file").read_text() == "mine"
    assert "file" in os.listdir(tmp_path)


def test_a_package_of_the_adapter(workspace, exported_run):
    write_json(
        exported_run.adapter / "adapter_config.json",
        {"peft_type": "LORA", "base_model_name_or_path": str(exported_run.model_path)},
    )
    (exported_run.adapter / "xtuner_config.py").write_text(f"path = {str(workspace.root)!r}\n")
    made = packages.package(workspace, exported_run, "huggingface", what="adapter")
    assert made.path == exported_run.path / "package-huggingface-adapter"
    assert {"adapter_config.json", "adapter_model.safetensors", "app.py"} <= set(made.files)
    assert "model.safetensors" not in made.files
    for name in ("adapter_config.json", "xtuner_config.py", "README.md"):
        assert str(workspace.root) not in (made.path / name).read_text(encoding="utf-8"), name
    assert "peft==" in (made.path / "requirements.txt").read_text()
    assert "ADAPTER = True" in (made.path / "app.py").read_text(encoding="utf-8")
    assert "library_name: peft" in (made.path / "README.md").read_text(encoding="utf-8")
    assert packages.there(exported_run, "huggingface", "adapter").files == made.files
    packages.discard(exported_run, "huggingface", "adapter")
    assert packages.there(exported_run, "huggingface", "adapter") is None
    assert exported_run.adapter.is_dir()


def test_weights_are_not_copied_and_the_rest_is(workspace, exported_run):
    made = packages.package(workspace, exported_run, "openxlab")
    assert os.path.samefile(made.path / "model.safetensors", exported_run.merged / "model.safetensors")
    assert not os.path.samefile(made.path / "config.json", exported_run.merged / "config.json")


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("no head", "other"),
        ("---\nlicense: [x\n---", "other"),
        (None, "other"),
    ],
)
def test_licence_of_the_base(exported_run, head, licence):
    readme = exported_run.model_path / "README.md"
    readme.unlink(missing_ok=True)
    if head is not None:
        readme.write_text(head)
    assert card.licence_of(exported_run) == licence
    assert f"license: {licence}\n" in card.card(exported_run, "modelscope", "merged")


@pytest.mark.parametrize(
    ("name", "target", "base"),
    [
        ("internlm2-chat-1_8b", "huggingface", "internlm/internlm2-chat-1_8b"),
        ("my-internlm2-chat-1_8b", "modelscope", "Shanghai_AI_Laboratory/internlm2-chat-1_8b"),
        ("smollm2-135m-instruct", "huggingface", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("demo", "huggingface", "demo"),
    ],
)
def test_base_as_the_hub_calls_it(exported_run, name, target, base):
    run = of_model(exported_run, name=name)
    assert card.base_of(run, target) == base
    assert (f"base_model: {base}" in card.card(run, target, "adapter")) == ("/" in base)


def test_the_app_needs_what_everyone_can_install(exported_run):
    exported_run.facts.versions.update({"torch": "2.1.2+cu121", "transformers": "4.48.0"})
    lines = packages.requirements(exported_run, "merged").splitlines()
    assert {"torch==2.1.2", "transformers==4.48.0"} <= set(lines)


def test_card_tells_the_scores(exported_run):
    text = card.card(exported_run, "huggingface", "merged")
    scores = json.loads((exported_run.path / "scores.json").read_text(encoding="utf-8"))
    assert f"| {scores['identity']['base']:.2f} | {scores['identity']['tuned']:.2f} |" in text
    assert str(Path(exported_run.path).parent.parent) not in text
