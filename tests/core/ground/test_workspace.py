"""Every path is within the workspace, whatever the name; an unwritable workspace is refused immediately."""

import shutil

import pytest

from core.ground.errors import BadInput
from core.ground.files import new_directory
from core.ground.workspace import PROJECT, Workspace, check_name, directories_with, each_with, free_name

BAD = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "a\\b",
    ".x",
    ".x.partial",
    "x.partial",
    "a..b",
    "x.",
    "-x",
    "_x",
    "a b",
    "a\nb",
    "x\n",
    "a\0b",
    "a:b",
    "a*",
    "~",
    "%2e%2e",
    "😀",
    "\ud800",
    "x" * 65,
    "x" * 10_000,
    # 64 letters, but of four bytes each: no file system accepts such a name.
    "𠀀" * 64,
]
GOOD = ["a", "小明", "v1.2", "qwen-1_8b", "0", "x" * 64, "小" * 64, "Ünïcode"]


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_bad_name(workspace, name):
    for place in (workspace.model, workspace.dataset, workspace.config, workspace.run):
        with pytest.raises(BadInput) as refused:
            place(name)
        assert len(str(refused.value)) < 250
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_good_name_is_a_directory_in_the_workspace(workspace, name):
    place = workspace.dataset(name)
    assert place.parent == workspace.datasets
    place.mkdir(parents=True)
    assert place.is_dir()


def test_message_names_the_thing_and_the_next_step():
    with pytest.raises(BadInput) as refused:
        check_name("a/b", "模型", "model")
    assert "模型" in refused.value.text.zh
    assert "model name 'a/b'" in refused.value.text.en
    assert refused.value.exit_code == 2


def test_root_is_chosen_explicitly_then_by_environment_then_by_default(tmp_path, monkeypatch):
    monkeypatch.setenv("XTUNER_STUDIO_HOME", str(tmp_path / "by environment"))
    assert Workspace.open(tmp_path / "given").root == tmp_path / "given"
    assert Workspace.open().root == tmp_path / "by environment"
    assert (tmp_path / "by environment").is_dir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Workspace.open("~/mine").root == tmp_path / "mine"


def test_root_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Workspace.open("here").root == tmp_path / "here"


def test_default_root_lies_in_the_project():
    assert (PROJECT / "core" / "ground" / "workspace.py").is_file()


@pytest.mark.parametrize("kind", ["a file", "under a file", "proc"])
def test_workspace_that_cannot_be_written_to(tmp_path, kind):
    (tmp_path / "file").write_text("")
    root = {"a file": tmp_path / "file", "under a file": tmp_path / "file" / "x", "proc": "/proc/studio"}[kind]
    with pytest.raises(BadInput) as refused:
        Workspace.open(root)
    assert str(root) in str(refused.value)
    assert "XTUNER_STUDIO_HOME" in str(refused.value)


def test_opening_leaves_nothing_behind(tmp_path):
    Workspace.open(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_free_name(tmp_path):
    assert free_name(tmp_path / "missing", "x") == "x"
    (tmp_path / "x").mkdir()
    assert free_name(tmp_path, "x") == "x-2"
    (tmp_path / "x-2").mkdir()
    assert free_name(tmp_path, "x") == "x-3"


def test_directories_with_leaves_out_what_is_being_written(tmp_path):
    for name in ("b", "a", "other", "not ours"):
        (tmp_path / name).mkdir()
    for name in ("b", "a", "not ours"):
        (tmp_path / name / "facts.json").write_text("{}")
    with new_directory(tmp_path / "c") as partial:
        (partial / "facts.json").write_text("{}")
        assert [path.name for path in directories_with(tmp_path, "facts.json")] == ["a", "b"]
    assert directories_with(tmp_path / "missing", "facts.json") == []


def test_what_is_deleted_while_it_is_listed_is_not_there(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "facts.json").write_text("{}")

    def found(name):
        # Another process deletes the second one when the first is read.
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        if not (tmp_path / name / "facts.json").exists():
            raise BadInput("没有", "there is none")
        return name

    assert each_with(tmp_path, "facts.json", found) == ["a", "c"]


def test_what_is_there_and_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "facts.json").write_text("")

    def refuses(name):
        raise BadInput(f"{name} 不能用", f"{name} cannot be read")

    with pytest.raises(BadInput, match="a cannot be read"):
        each_with(tmp_path, "facts.json", refuses)
