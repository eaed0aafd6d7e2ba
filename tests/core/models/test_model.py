"""Headers and sizes show whether a model directory is complete; an incomplete one is not linked."""

import json
import os
import struct
import zipfile

import pytest

from core.ground.errors import BadInput
from core.jobs.job import Status
from core.models import model as models
from core.models import trust
from core.models.model import look
from core.models.shape import shape
from core.models.weights import safetensors_headers
from tests.fakes.model import PARAMETERS, write_model, write_safetensors


@pytest.fixture
def directory(tmp_path):
    return write_model(tmp_path / "internlm2-chat-1_8b", shards=2)


def test_whole(directory):
    found = look(directory)
    assert found.problems == []
    assert found.whole
    assert (found.name, found.path) == ("internlm2-chat-1_8b", directory)
    assert (found.architecture, found.dtype, found.parameters) == ("InternLM2ForCausalLM", "float32", PARAMETERS)
    assert (found.layers, found.hidden_size, found.vocab_size) == (2, 16, 64)
    assert found.bytes == sum(path.stat().st_size for path in directory.glob("*.safetensors"))
    assert found.prompt_template.name == "internlm2_chat"
    assert not found.demo


def test_whole_in_one_file(tmp_path):
    found = look(write_model(tmp_path / "m", demo=True))
    assert found.whole
    assert found.parameters == PARAMETERS
    assert found.demo


def missing_shard(path):
    (path / "model-00002-of-00002.safetensors").unlink()


def truncated_shard(path):
    shard = path / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])


def shard_too_long(path):
    with (path / "model-00002-of-00002.safetensors").open("ab") as file:
        file.write(b"x")


def empty_shard(path):
    (path / "model-00001-of-00002.safetensors").write_bytes(b"")


def lfs_pointer(path):
    (path / "model-00001-of-00002.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def header_that_is_a_list(path):
    text = b"[1, 2]"
    (path / "model-00001-of-00002.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)


def header_without_offsets(path):
    text = b'{"a": {"shape": [1]}}'
    (path / "model-00001-of-00002.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)


def index_missing(path):
    (path / "model.safetensors.index.json").unlink()


def index_missing_with_a_shard(path):
    index_missing(path)
    missing_shard(path)


def index_broken(path):
    (path / "model.safetensors.index.json").write_text('{"weight_map": ')


def index_a_list(path):
    (path / "model.safetensors.index.json").write_text("[1]")


def index_empty(path):
    (path / "model.safetensors.index.json").write_text('{"weight_map": {}}')


def weights_missing(path):
    for file in [*path.glob("model-*"), *path.glob("model.*")]:
        file.unlink()


def code_missing(path):
    (path / "modeling_internlm2.py").unlink()


def tokenizer_missing(path):
    (path / "tokenizer.json").unlink()


def tokenizer_empty(path):
    (path / "tokenizer.json").write_text("")


def tokenizer_a_pointer(path):
    (path / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5752\n")


def tokenizer_code_missing(path):
    mapping = {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]}
    (path / "tokenizer_config.json").write_text(json.dumps({"auto_map": mapping}))


def tensor_missing(path):
    write_safetensors(path / "model-00001-of-00002.safetensors", {"model.tok_embeddings.weight": [64, 16]})


def bin_instead(path):
    weights_missing(path)
    with zipfile.ZipFile(path / "pytorch_model.bin", "w") as file:
        file.writestr("archive/data.pkl", bytes(5000))


def bin_cut_short(path):
    bin_instead(path)
    whole = (path / "pytorch_model.bin").read_bytes()
    (path / "pytorch_model.bin").write_bytes(whole[:4000])


def bin_of_text(path):
    weights_missing(path)
    (path / "pytorch_model.bin").write_text("<html>not found</html>")


def config_missing(path):
    (path / "config.json").unlink()


def config_broken(path):
    (path / "config.json").write_text('{"architectures": [')


def config_nested(path):
    (path / "config.json").write_text('{"a":' * 100_000)


def config_without_end(path):
    with (path / "config.json").open("wb") as file:
        file.truncate(1 << 40)


def config_of_other_kinds(path):
    hostile = {"hidden_size": "16", "num_hidden_layers": 10**9, "vocab_size": [64], "architectures": {"a": 1}}
    hostile |= {"torch_dtype": ["float32"], "num_attention_heads": {}, "intermediate_size": True}
    (path / "config.json").write_text(json.dumps(hostile))


def code_of_another_place(path):
    """And none here, so that no permission would be requested."""
    for file in path.glob("*.py"):
        file.unlink()
    config = json.loads((path / "config.json").read_text())
    del config["auto_map"]
    (path / "config.json").write_text(json.dumps(config))
    mapping = {"AutoTokenizer": ["/home/x/evil--payload.Tok", None]}
    (path / "tokenizer_config.json").write_text(json.dumps({"auto_map": mapping}))


def header_nested(path):
    block = b'{"a":' * 100_000
    (path / "model-00001-of-00002.safetensors").write_bytes(struct.pack("<Q", len(block)) + block)


def header_of_other_kinds(path):
    block = json.dumps({"a": {"dtype": "F32", "shape": ["2", "2"], "data_offsets": [0, 0]}}).encode()
    (path / "model-00001-of-00002.safetensors").write_bytes(struct.pack("<Q", len(block)) + block)


def config_a_list(path):
    (path / "config.json").write_text("[]")


@pytest.mark.parametrize(
    ("harm", "where"),
    [
        (missing_shard, "model-00002-of-00002.safetensors"),
        (truncated_shard, "model-00002-of-00002.safetensors"),
        (shard_too_long, "model-00002-of-00002.safetensors"),
        (empty_shard, "model-00001-of-00002.safetensors"),
        (lfs_pointer, "model-00001-of-00002.safetensors"),
        (header_that_is_a_list, "model-00001-of-00002.safetensors"),
        (header_without_offsets, "model-00001-of-00002.safetensors"),
        (index_missing, "model.safetensors.index.json"),
        (index_missing_with_a_shard, "model.safetensors.index.json"),
        (index_broken, "model.safetensors.index.json"),
        (index_a_list, "model.safetensors.index.json"),
        (index_empty, "model.safetensors.index.json"),
        (weights_missing, "model.safetensors"),
        (tokenizer_code_missing, "tokenization_internlm2.py"),
        (tokenizer_empty, "tokenizer.json"),
        (tokenizer_a_pointer, "tokenizer.json"),
        (tensor_missing, "model-00001-of-00002.safetensors"),
        (bin_cut_short, "pytorch_model.bin"),
        (bin_of_text, "pytorch_model.bin"),
        (code_missing, "modeling_internlm2.py"),
        (tokenizer_missing, "tokenizer"),
        (config_missing, "config.json"),
        (config_broken, "config.json"),
        (config_a_list, "config.json"),
        (config_nested, "config.json"),
        (config_without_end, "config.json"),
        (code_of_another_place, "tokenizer_config.json"),
        (header_nested, "model-00001-of-00002.safetensors"),
        (header_of_other_kinds, "model-00001-of-00002.safetensors"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_broken(workspace, directory, harm, where):
    harm(directory)
    found = look(directory)
    assert not found.whole
    assert [problem.where for problem in found.problems] == [where]
    with pytest.raises(BadInput) as refused:
        models.link(workspace, directory)
    assert where in str(refused.value)
    assert "\n" not in str(refused.value)
    assert os.listdir(workspace.root) == []


def test_values_of_other_kinds_are_problems_of_that_model_alone(workspace, directory):
    config_of_other_kinds(directory)
    found = look(directory)
    assert [str(problem.message.en).split()[0] for problem in found.problems] == [
        "hidden_size", "num_hidden_layers", "vocab_size", "architectures",
    ]  # fmt: skip
    assert (found.architecture, found.layers, found.dtype) == (None, 0, "F32")
    assert shape(directory) is None
    (workspace.models / "nested").mkdir(parents=True)
    (workspace.models / "hostile").symlink_to(directory)
    config_nested(workspace.models / "nested")
    write_model(workspace.models / "sound")
    assert [model.name for model in models.every(workspace) if model.whole] == ["sound"]


def test_a_total_size_that_is_no_number_is_not_believed(directory):
    bin_instead(directory)
    for file in directory.glob("*.index.json"):
        file.unlink()
    (directory / "pytorch_model.bin").rename(directory / "pytorch_model-1.bin")
    index = {"metadata": {"total_size": ["x"]}, "weight_map": {"a": "pytorch_model-1.bin"}}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    found = look(directory)
    assert found.whole
    assert found.parameters == found.bytes // 4


def test_every_problem_at_once(directory):
    missing_shard(directory)
    code_missing(directory)
    tokenizer_missing(directory)
    assert len(look(directory).problems) == 3


def test_link(workspace, directory):
    found = models.link(workspace, directory)
    place = workspace.models / "internlm2-chat-1_8b"
    assert found.path == place
    assert place.is_symlink()
    assert place.resolve() == directory
    assert models.find(workspace, "internlm2-chat-1_8b").whole
    assert models.link(workspace, str(directory) + "/", "other").name == "other"
    assert [model.name for model in models.every(workspace)] == ["internlm2-chat-1_8b", "other"]


def test_link_to_a_taken_name(workspace, directory, tmp_path):
    models.link(workspace, directory, "m")
    with pytest.raises(BadInput) as refused:
        models.link(workspace, write_model(tmp_path / "another"), "m")
    assert "m" in str(refused.value)
    assert (workspace.models / "m").resolve() == directory


@pytest.mark.parametrize("name", ["../m", "", ".m", "a/b"])
def test_link_with_a_bad_name(workspace, directory, name):
    # An empty name is no name: the directory's own is used.
    if name:
        with pytest.raises(BadInput):
            models.link(workspace, directory, name)
        assert os.listdir(workspace.root) == []


def test_link_of_what_is_not_there(workspace, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(BadInput) as refused:
            models.link(workspace, path)
        assert str(path) in str(refused.value)
    assert os.listdir(workspace.root) == []


def test_find_and_usable(workspace, directory):
    with pytest.raises(BadInput) as refused:
        models.find(workspace, "nothing")
    assert "models demo" in str(refused.value)
    trust.agree(workspace, models.link(workspace, directory, "m").path)
    assert models.usable(workspace, "m").whole
    missing_shard(directory)
    assert not models.find(workspace, "m").whole
    with pytest.raises(BadInput) as refused:
        models.usable(workspace, "m")
    assert "model-00002-of-00002.safetensors" in str(refused.value)


def test_link_whose_directory_is_gone(workspace, directory, tmp_path):
    models.link(workspace, directory, "m")
    directory.rename(tmp_path / "elsewhere")
    (found,) = models.every(workspace)
    assert not found.whole
    with pytest.raises(BadInput):
        models.usable(workspace, "m")


def test_as_json(directory):
    told = json.loads(json.dumps(look(directory).to_json()))
    prompt = told.pop("prompt_template")
    assert (prompt["name"], prompt["suffix"], prompt["kind"]) == ("internlm2_chat", "<|im_end|>", "named")
    assert told == {
        "name": "internlm2-chat-1_8b",
        "path": str(directory),
        "parameters": PARAMETERS,
        "architecture": "InternLM2ForCausalLM",
        "trainable": True,
        "problems": [],
    }


def test_safetensors_headers(tmp_path, directory):
    header = safetensors_headers(directory)[directory / "model-00001-of-00002.safetensors"]
    assert header["model.tok_embeddings.weight"] == {"dtype": "F32", "shape": [64, 16], "data_offsets": [0, 4096]}
    assert "__metadata__" not in header
    assert safetensors_headers(tmp_path / "missing") == {}
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    assert safetensors_headers(tmp_path) == {tmp_path / "huge.safetensors": None}


@pytest.mark.usefixtures("small_model")
def test_demo_model_that_is_there_is_not_built_again(workspace):
    assert models.build_demo(workspace) is None
    assert not list(workspace.jobs.glob("demo_model-*"))


def test_demo_model_is_built_once_at_a_time(workspace, monkeypatch):
    monkeypatch.setattr(models, "module_command", lambda *_: ["sleep", "600"])
    job = models.build_demo(workspace)
    assert models.build_demo(workspace) == job
    assert job.status() is Status.RUNNING


def test_demo_model_is_not_built_over_something_else(workspace):
    workspace.model("demo").mkdir(parents=True)
    (workspace.model("demo") / "mine").write_text("x")
    with pytest.raises(BadInput) as refused:
        models.build_demo(workspace)
    assert str(workspace.model("demo")) in str(refused.value)
    assert (workspace.model("demo") / "mine").read_text() == "x"


def test_weights_as_bin(directory):
    bin_instead(directory)
    found = look(directory)
    assert found.problems == []
    # Only the size is known: float32 has four bytes per parameter.
    assert found.parameters == found.bytes // 4 > 1000


def test_a_pointer_of_git_lfs_says_what_to_do(directory):
    lfs_pointer(directory)
    (problem,) = look(directory).problems
    assert "git lfs pull" in problem.hint.zh
    assert "git lfs pull" in problem.hint.en


def test_unlink_leaves_the_files_alone(workspace, directory):
    before = sorted(os.listdir(directory))
    trust.agree(workspace, models.link(workspace, directory, "m").path)
    assert models.unlink(workspace, "m") == directory
    assert models.every(workspace) == []
    assert sorted(os.listdir(directory)) == before
    trust_records = workspace.settings / "trusted"
    assert list(trust_records.iterdir()) == []
    with pytest.raises(BadInput):
        models.unlink(workspace, "m")


def test_unlink_of_a_link_to_nothing(workspace, directory, tmp_path):
    models.link(workspace, directory, "m")
    directory.rename(tmp_path / "elsewhere")
    models.unlink(workspace, "m")
    assert models.every(workspace) == []


def test_unlink_and_delete_are_not_the_same(workspace, directory, small_model):
    models.link(workspace, directory, "m")
    for call, name in ((models.unlink, small_model.name), (models.delete, "m")):
        with pytest.raises(BadInput) as refused:
            call(workspace, name)
        assert name in str(refused.value)
    models.delete(workspace, small_model.name)
    assert [model.name for model in models.every(workspace)] == ["m"]
    assert directory.is_dir()
    assert sorted(os.listdir(workspace.models)) == ["m"]


def test_link_by_the_name_that_the_course_gives(workspace, tmp_path, monkeypatch):
    shared = write_model(tmp_path / "share" / "Shanghai_AI_Laboratory" / "internlm2-chat-1_8b")
    monkeypatch.setenv("XTUNER_STUDIO_MODELS", str(tmp_path / "share"))
    found = models.link(workspace, "Shanghai_AI_Laboratory/internlm2-chat-1_8b")
    assert (found.name, found.linked_to) == ("internlm2-chat-1_8b", shared)
    with pytest.raises(BadInput):
        models.link(workspace, "Shanghai_AI_Laboratory/another")
