"""Paths that are not model directories: each is recognized, with the path to give instead."""

import pytest

from core.ground.errors import BadInput
from core.models import model as models
from core.models.place import refuse_no_model
from tests.fakes.model import write_model, write_safetensors


def hub_cache(root):
    revision = root / "models--internlm--internlm2-chat-1_8b" / "snapshots" / "0a1b"
    revision.parent.mkdir(parents=True)
    write_model(revision)
    (root / "models--internlm--internlm2-chat-1_8b" / "refs").mkdir()
    return root / "models--internlm--internlm2-chat-1_8b", str(revision)


def empty_hub_cache(root):
    place = root / "models--a--b"
    (place / "snapshots" / "0a1b").mkdir(parents=True)
    return place, "snapshots/"


def hub_of_many(root):
    cache, revision = hub_cache(root)
    return cache.parent, revision


def gguf(root):
    (root / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    return root, "GGUF"


def gguf_file(root):
    return gguf(root)[0] / "model-Q4_K_M.gguf", "GGUF"


def adapter(root):
    (root / "adapter_config.json").write_text('{"base_model_name_or_path": "internlm/internlm2-chat-7b"}')
    write_safetensors(root / "adapter_model.safetensors", {"lora_A.weight": [2, 2]})
    return root, "internlm/internlm2-chat-7b"


def broken_adapter(root):
    (root / "adapter_config.json").write_text("[")
    return root, "LoRA"


def base_with_an_adapter(root):
    write_model(root / "m")
    (root / "m" / "adapter_config.json").write_text("{}")
    return root / "m", "adapter_config.json"


def one_level_too_high(root):
    write_model(root / "internlm" / "chat")
    return root, str(root / "internlm" / "chat")


def a_file_of_it(root):
    return write_model(root / "m") / "model.safetensors", str(root / "m")


def archive(root):
    (root / "model.tar.gz").write_bytes(b"\x1f\x8b")
    return root / "model.tar.gz", "解压"


def work_dir(root):
    (root / "iter_96.pth").write_bytes(b"PK")
    return root, "work_dir"


def original_format(root):
    (root / "params.json").write_text("{}")
    (root / "consolidated.00.pth").write_bytes(b"PK")
    return root, "-hf"


def onnx(root):
    (root / "model.onnx").write_bytes(b"x")
    return root, "ONNX"


def diffusion(root):
    (root / "model_index.json").write_text("{}")
    return root, "扩散"


@pytest.mark.parametrize(
    "make",
    [
        hub_cache,
        empty_hub_cache,
        hub_of_many,
        gguf,
        gguf_file,
        adapter,
        broken_adapter,
        base_with_an_adapter,
        one_level_too_high,
        a_file_of_it,
        archive,
        work_dir,
        original_format,
        onnx,
        diffusion,
    ],
)
def test_says_what_it_is_and_what_to_give(workspace, tmp_path, make):
    root = tmp_path / "given"
    root.mkdir()
    place, named = make(root)
    with pytest.raises(BadInput) as refused:
        models.link(workspace, place, "m")
    assert named in str(refused.value)
    assert not (workspace.models / "m").is_symlink(), "nothing was linked"


def test_a_model_with_files_missing_is_left_to_the_look_at_its_files(tmp_path):
    refuse_no_model(write_model(tmp_path / "m"))
    (tmp_path / "m" / "model.safetensors").unlink()
    refuse_no_model(tmp_path / "m")
    (tmp_path / "empty").mkdir()
    refuse_no_model(tmp_path / "empty")
    refuse_no_model(tmp_path / "not there")
