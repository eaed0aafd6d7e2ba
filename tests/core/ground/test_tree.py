"""A directory as drawn by `tree`: links, depth, sizes, hidden files, and where it ends."""

import pytest

from core.ground.tree import tree


@pytest.fixture
def model(tmp_path):
    place = tmp_path / "model"
    (place / "runs" / "old").mkdir(parents=True)
    (place / ".git").mkdir()
    (place / "config.json").write_text("{}")
    (place / "weights.bin").write_bytes(bytes(1536))
    (place / "runs" / "old" / "a.txt").write_text("")
    (place / "code.py").symlink_to("config.json")
    return place


def test_a_whole_directory(model):
    assert tree(model).splitlines() == [
        "model",
        "├── code.py -> config.json",
        "├── config.json",
        "├── runs",
        "│   └── old",
        "│       └── a.txt",
        "└── weights.bin",
        "",
        "2 directories, 4 files",
    ]


def test_no_deeper_and_with_sizes(model):
    assert tree(model, depth=2, sizes=True).splitlines()[1:] == [
        "├── code.py -> config.json",
        "├── config.json  (2 B)",
        "├── runs",
        "│   └── old",
        "└── weights.bin  (1.5 kB)",
        "",
        "2 directories, 3 files",
    ]
    assert tree(model, depth=1).splitlines()[3:5] == ["├── runs", "└── weights.bin"]


def test_a_long_one_is_cut_and_counted_whole(model):
    assert tree(model, most=2).splitlines() == [
        "model",
        "├── code.py -> config.json",
        "├── config.json",
        "… (4)",
        "",
        "2 directories, 4 files",
    ]


def test_a_link_to_a_directory(model, tmp_path):
    """As in the course's screenshot of its linked model."""
    link = tmp_path / "linked"
    link.symlink_to(model)
    assert tree(link).splitlines()[:2] == [f"linked -> {model}", "├── code.py -> config.json"]
    (model / "again").symlink_to(model)
    assert f"├── again -> {model}" in tree(link).splitlines()


def test_what_is_not_there(tmp_path):
    assert tree(tmp_path / "gone") == "gone\n\n0 directories, 0 files"
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "deep").mkdir()
    (tmp_path / "one" / "file").touch()
    assert tree(tmp_path / "one").endswith("1 directory, 1 file")
