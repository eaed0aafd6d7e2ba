"""A model is downloaded completely or not at all: through the hubs' own clients, from a server on this machine."""

import json
import os
import socket

import pytest

from core.ground.errors import BadInput
from core.jobs.job import Status, wait_until
from core.models import model as models
from core.models.hub import download, worker
from core.models.hub.clients import File, HubRefusal, wanted
from core.models.hub.download import Source
from tests.conftest import PATIENCE, ended
from tests.fakes.hub import Hub, serve
from tests.fakes.model import write_model, write_safetensors

TOKEN = "hf_a-token-that-is-kept-nowhere"
BIG = {"model.tok_embeddings.weight": [64, 4096]}
LOCAL = ("huggingface", "modelscope")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("HF_ENDPOINT", "HF_TOKEN", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    directory = write_model(tmp_path / "hub" / "internlm2-chat-1_8b")
    write_safetensors(directory / "model.safetensors", BIG)
    (directory / "pytorch_model.bin").write_text("the same weights once more")
    (directory / ".gitattributes").write_text("")
    with serve(Hub(directory)) as served:
        yield served


@pytest.fixture
def begin(workspace, hub):
    def begin(kind="huggingface", name=None, **options):
        source = Source.of(kind, hub.repository, endpoint=hub.address)
        return download.start(workspace, source, name, **options)

    return begin


def test_what_vanishes_while_it_is_measured_does_not_count(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("one", "deep/two", "deep/two.lock"):
        (tmp_path / name).write_bytes(bytes(100))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert worker.on_disk(tmp_path) == 200
    assert worker.on_disk(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("kind", LOCAL)
def test_a_model_comes_whole_and_says_where_from(workspace, hub, begin, kind):
    job = begin(kind)
    assert ended(job) is Status.FINISHED, job.log_tail()
    model = models.find(workspace, "internlm2-chat-1_8b")
    assert model.problems == []
    assert sorted(os.listdir(model.path)) == sorted({*os.listdir(hub.directory), "download.json"} - {"pytorch_model.bin", ".gitattributes"})  # fmt: skip
    assert (model.path / "model.safetensors").read_bytes() == (hub.directory / "model.safetensors").read_bytes()
    told = json.loads((model.path / "download.json").read_text())
    assert (told["hub"], told["repository"], told["endpoint"]) == (kind, hub.repository, hub.address)
    assert download.unfinished(workspace) == {}
    # It came from outside: its code needs permission.
    with pytest.raises(BadInput):
        models.usable(workspace, model.name)


@pytest.mark.parametrize("kind", LOCAL)
def test_a_connection_that_is_cut_goes_on_where_it_was(begin, hub, kind):
    hub.cuts["model.safetensors"] = 500_000
    job = begin(kind)
    assert ended(job) is Status.FINISHED, job.log_tail()
    size = (hub.directory / "model.safetensors").stat().st_size
    assert any(line.startswith("model.safetensors bytes=") for line in hub.ranges)
    # Not all of it is sent again.
    assert size <= hub.sent["model.safetensors"] < size + 500_000


@pytest.mark.parametrize("kind", LOCAL)
def test_stopped_and_gone_on_with(workspace, hub, begin, kind):
    hub.seconds_per_block = 0.02
    job = begin(kind)
    assert wait_until(lambda: job.progress.get("bytes", 0) > 100_000, PATIENCE), job.log_tail()
    told = job.progress
    assert told["total"] > told["bytes"]
    assert told["file"] == "model.safetensors"
    with pytest.raises(BadInput):
        download.discard(workspace, "internlm2-chat-1_8b")
    with pytest.raises(BadInput):
        begin(kind, "another")
    assert job.stop(grace=0) is Status.KILLED
    assert models.every(workspace) == []
    assert list(download.unfinished(workspace)) == ["internlm2-chat-1_8b"]
    with pytest.raises(BadInput) as refused:
        download.start(workspace, Source.of(kind, "other/internlm2-chat-1_8b", endpoint=hub.address))
    assert hub.repository in str(refused.value)
    hub.seconds_per_block, before = 0.0, hub.sent["model.safetensors"]
    (source,) = download.unfinished(workspace).values()
    again = download.start(workspace, source, "internlm2-chat-1_8b")
    assert ended(again) is Status.FINISHED, again.log_tail()
    size = (hub.directory / "model.safetensors").stat().st_size
    assert hub.sent["model.safetensors"] - before < size - 50_000


@pytest.mark.parametrize("kind", LOCAL)
def test_a_wrong_file_is_fetched_again_and_never_kept(workspace, hub, begin, kind):
    hub.wrong["model.safetensors"] = 1
    job = begin(kind)
    assert ended(job) is Status.FINISHED, job.log_tail()
    place = models.find(workspace, "internlm2-chat-1_8b").path
    assert (place / "model.safetensors").read_bytes() == (hub.directory / "model.safetensors").read_bytes()


def test_a_file_that_stays_wrong_is_named(workspace, hub, begin):
    hub.wrong["config.json"] = 9
    job = begin()
    assert ended(job) is Status.FAILED
    assert "config.json" in download.why(job).zh
    assert "校验和" in download.why(job).zh
    assert models.every(workspace) == []
    download.discard(workspace, "internlm2-chat-1_8b")
    assert download.unfinished(workspace) == {}
    assert list(workspace.models.iterdir()) == []


@pytest.mark.parametrize("kind", LOCAL)
def test_a_token_opens_and_is_kept_nowhere(workspace, hub, begin, kind, monkeypatch):
    hub.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    job = begin(kind)
    assert ended(job) is Status.FAILED
    assert "令牌" in download.why(job).zh, job.log_tail()
    again = begin(kind, token=TOKEN)
    assert ended(again) is Status.FINISHED, again.log_tail()
    for path in workspace.root.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("kind", LOCAL)
def test_what_is_not_there(workspace, hub, kind):
    job = download.start(workspace, Source.of(kind, "org/nothing", endpoint=hub.address))
    assert ended(job) is Status.FAILED
    assert "没有找到" in download.why(job).zh, job.log_tail()


@pytest.mark.parametrize("kind", LOCAL)
def test_it_is_not_led_to_a_service_of_this_machine(begin, hub, kind):
    with socket.create_server(("127.0.0.1", 0)) as service:
        service.setblocking(False)
        hub.elsewhere = f"http://localhost:{service.getsockname()[1]}"
        job = begin(kind)
        assert ended(job) is Status.FAILED
        assert "本机" in download.why(job).zh, job.log_tail()
        with pytest.raises(BlockingIOError):
            service.accept()


@pytest.mark.parametrize("kind", LOCAL)
def test_it_is_not_led_to_the_cloud_around_this_machine(begin, hub, kind):
    hub.elsewhere = "http://169.254.169.254/latest/meta-data"
    job = begin(kind)
    assert ended(job) is Status.FAILED
    assert "169.254.169.254" in download.why(job).zh, job.log_tail()


def test_nobody_listens(workspace, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    job = download.start(workspace, Source.of("huggingface", "org/m", endpoint="http://127.0.0.1:9"))
    assert ended(job) is Status.FAILED
    assert "连不上" in download.why(job).zh, job.log_tail()
    assert list(download.unfinished(workspace)) == ["m"]


@pytest.mark.parametrize(
    ("hub", "repository", "revision", "endpoint"),
    [
        ("elsewhere", "a/b", None, None),
        ("huggingface", "", None, None),
        ("huggingface", "a", None, None),
        ("huggingface", "a/b/c", None, None),
        ("huggingface", "../b", None, None),
        ("huggingface", "a/..", None, None),
        ("huggingface", "组织/模型", None, None),
        ("modelscope", "a/b", "../../x", None),
        ("modelscope", "a/b", "-x", None),
        ("modelscope", "a/b", None, "ftp://x"),
        ("modelscope", "a/b", None, "x.org"),
        ("huggingface", "a/b", None, "http://169.254.169.254/latest"),
        ("huggingface", "a/b", None, "https://[fe80::1]"),
        ("modelscope", "a/b", None, "http://100.100.100.200"),
        ("modelscope", "a/b", None, "http://[::ffff:169.254.1.1]:80"),
        ("huggingface", "a/b", None, "http://2852039166"),
        ("modelscope", "a/b", None, "https://user:secret@x.org"),
    ],
)
def test_what_cannot_be_asked_for(hub, repository, revision, endpoint):
    with pytest.raises(BadInput) as refused:
        Source.of(hub, repository, revision, endpoint)
    assert "\n" not in str(refused.value)


def test_mirrors(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.com/")
    assert Source.of("huggingface", "a/b").endpoint == "https://hf-mirror.com"
    assert Source.of("modelscope", "a/b").endpoint == "https://www.modelscope.cn"
    monkeypatch.delenv("HF_ENDPOINT")
    assert Source.of("huggingface", "a/b").endpoint == "https://huggingface.co"
    assert (Source.of("modelscope", " a/b/ ").revision, Source.of("huggingface", "a/b").revision) == ("master", "main")


def test_names_that_are_taken(workspace, small_model):
    write_model(workspace.model("b"))
    for name in ("b", small_model.name, "../x"):
        with pytest.raises(BadInput):
            download.start(workspace, Source.of("huggingface", "a/b"), name)
    assert download.latest(workspace) is None


def test_a_token_does_not_go_over_http(workspace):
    with pytest.raises(BadInput) as refused:
        download.start(workspace, Source.of("huggingface", "a/b", endpoint="http://mirror.example"), token=TOKEN)
    assert TOKEN not in str(refused.value)


def test_what_is_wanted_of_a_repository():
    def names(*files):
        return [file.path for file in wanted([File(path=path, size=1) for path in files])]

    assert names("model.safetensors", "pytorch_model.bin", "x.gguf", "a.py") == ["model.safetensors", "a.py"]
    assert names("pytorch_model.bin", "config.json") == ["pytorch_model.bin", "config.json"]
    for path in ("../x", "/etc/passwd", "a/../../x"):
        with pytest.raises(HubRefusal):
            wanted([File(path=path, size=1)])
