"""The code that a model would run: everything that transformers would load, and nothing from elsewhere."""

import json
import os
import subprocess
import sys

import pytest

from core.ground.model_code import Refused, model_code, read_object


def write(directory, **files):
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


@pytest.mark.parametrize(
    "file",
    ["config", "tokenizer_config", "processor_config", "preprocessor_config", "generation_config", "config.4.0.0"],
)
def test_every_file_that_transformers_reads(tmp_path, file):
    write(tmp_path, **{file: {"auto_map": {"AutoX": "one.X"}}})
    assert model_code(tmp_path).files == {"one.py": f"{file}.json"}


@pytest.mark.parametrize(
    ("content", "files"),
    [
        ({"auto_map": {"AutoTokenizer": ["slow.Slow", "fast.Fast"]}}, {"slow.py", "fast.py"}),
        ({"auto_map": {"AutoTokenizer": ["slow.Slow", None]}}, {"slow.py"}),
        ({"auto_map": {"AutoTokenizer": [None, "fast.Fast"]}}, {"fast.py"}),
        ({"auto_map": ["slow.Slow", None]}, {"slow.py"}),
        ({"auto_map": {"AutoTokenizer": None}}, set()),
        ({"auto_map": None}, set()),
        ({}, set()),
        ({"text_config": {"auto_map": {"AutoModel": "inner.M"}}}, {"inner.py"}),
        ({"parts": [[{"deep": {"auto_map": {"AutoModel": "inner.M"}}}]]}, {"inner.py"}),
        ({"custom_pipelines": {"talk": {"impl": "pipe.Talk", "pt": ["AutoModel"]}}}, {"pipe.py"}),
        ({"auto_map": {"A": "a-b_1.C"}}, {"a-b_1.py"}),
    ],
)
def test_all_that_is_named(tmp_path, content, files):
    found = model_code(write(tmp_path, config=content))
    assert set(found.files) == files
    assert not found.refused


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("/home/x/evil--payload.Tok", "elsewhere"),
        ("someone/model--modeling.M", "elsewhere"),
        ("model--modeling.M", "elsewhere"),
        ("/home/x/payload.M", "elsewhere"),
        ("sub/payload.M", "elsewhere"),
        ("sub\\payload.M", "elsewhere"),
        ("../payload.M", "elsewhere"),
        ("..payload.M", "name"),
        ("..", "name"),
        ("payload", "name"),
        ("package.payload.M", "name"),
        (".M", "name"),
        ("payload.", "name"),
        ("payload.M ", "name"),
        ("payload.M\n", "name"),
        ("pay\0load.M", "name"),
        ("", "name"),
        (7, "name"),
        (True, "name"),
        ({"payload": "M"}, "name"),
        (["payload.M"], "name"),
    ],
)
@pytest.mark.parametrize("at", ["alone", "in a list", "in a part"])
def test_what_is_no_name_of_a_file_here_is_refused(tmp_path, reference, why, at):
    if at == "in a list" or isinstance(reference, list):
        content = {"auto_map": {"AutoTokenizer": [reference, None]}}
    elif at == "alone":
        content = {"auto_map": {"AutoTokenizer": reference}}
    else:
        content = {"vision": {"auto_map": {"AutoModel": reference}}}
    found = model_code(write(tmp_path, tokenizer_config=content))
    assert not found.files
    assert [(one.where, one.why) for one in found.refused] == [("tokenizer_config.json", why)]
    assert found.refused[0].said.isprintable()


def test_the_long_way_round(tmp_path):
    """Other files that transformers would read in place of these."""
    write(tmp_path, config={"configuration_files": ["config.4.0.0.json", "../evil/config.1.0.0.json"]})
    write(tmp_path, adapter_config={"base_model_name_or_path": "/home/x/evil"})
    assert model_code(tmp_path).refused == (
        Refused("adapter_config.json", "/home/x/evil", "another model"),
        Refused("config.json", "../evil/config.1.0.0.json", "elsewhere"),
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 100_000,
        '{"a": ' + "[" * 200_000 + "]" * 200_000 + "}",
        '{"auto_map": ',
        '["auto_map"]',
        '{"a": ' + "9" * 5000 + "}",
        "\ufeff{}",
        "",
        b"\xff\xfe{}",
    ],
    ids=["open", "deep", "half", "list", "number", "mark", "empty", "bytes"],
)
def test_hostile_files_end_as_refused(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert model_code(tmp_path).refused == (Refused("config.json", "", "unreadable"),)
    assert read_object(tmp_path / "config.json") is None


def test_a_file_without_end_is_not_read(tmp_path):
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "tokenizer_config.json")
    (tmp_path / "processor_config.json").symlink_to("/dev/zero")
    assert [one.where for one in model_code(tmp_path).refused] == ["config.json"]
    assert read_object(tmp_path / "tokenizer_config.json") is None


TRANSFORMERS = """
import sys
from transformers.dynamic_module_utils import get_class_from_dynamic_module
for reference in sys.argv[2:]:
    try:
        print(get_class_from_dynamic_module(reference, sys.argv[1]).__module__.rpartition(".")[2])
    except ValueError:
        print("refused")
"""


def test_transformers_reads_it_so(tmp_path):
    """The hole closed here is real: code in any directory of this machine; transformers itself refuses the rest."""
    model, other = tmp_path / "model", tmp_path / "other"
    for directory, file in ((model, "one"), (other, "two")):
        directory.mkdir()
        (directory / f"{file}.py").write_text("class It:\n    pass\n")
    references = ["one.It", f"{other}--two.It", "one", "package.one.It", "a--b--c.It"]
    done = subprocess.run(
        [sys.executable, "-c", TRANSFORMERS, str(model), *references],
        env={**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["one", "two", "refused", "refused", "refused"], done.stderr[-500:]
