"""An upload through the hub's real client to a fake hub: what is sent, resumed and refused; no token is left behind."""

import json

import pytest

from core.ground.errors import BadInput
from core.jobs.job import Status
from core.models.hub.download import why
from core.publish import package as packages
from core.publish import upload
from tests.fakes.upload_hub import TOKEN, UploadHub, serve


@pytest.fixture
def hub():
    with serve(UploadHub()) as served:
        yield served


@pytest.fixture
def package(workspace, exported_run):
    return packages.package(workspace, exported_run, "huggingface")


def test_a_plan_sends_nothing(hub, package):
    plan = upload.plan(package, "huggingface", "me/model", endpoint=hub.address)
    assert [file["path"] for file in plan.files] == package.files
    assert plan.bytes == sum((package.path / name).stat().st_size for name in package.files)
    assert "git clone https://huggingface.co/me/model ../repository" in plan.by_git
    assert hub.created == []


@pytest.mark.parametrize("target", ["huggingface", "modelscope", "openxlab"])
@pytest.mark.parametrize(
    "repository",
    ["", "model", "../../etc/x", "a/b/c", "me/mo del", "me/$(id)", "me/`id`", "me/x\nid", "me/-x", "me/x;id"],
)
def test_a_repository_that_cannot_be(tmp_path, repository, target):
    with pytest.raises(BadInput):
        upload.plan(packages.Package(path=tmp_path, files=[]), target, repository)


@pytest.mark.parametrize("target", ["huggingface", "modelscope"])
def test_sent_once_and_the_token_is_left_nowhere(workspace, exported_run, hub, target):
    package = packages.package(workspace, exported_run, target)
    plan = upload.plan(package, target, "me/model", private=True, endpoint=hub.address)
    hub.failures = 1
    job = upload.start(exported_run, package, plan, TOKEN)
    assert job.wait(300) is Status.FINISHED, job.log_tail()
    assert {name: (package.path / name).read_bytes() for name in package.files} == hub.files
    assert len(hub.created) == 1
    assert hub.created[0]["private"] is True if target == "huggingface" else hub.created[0]["Visibility"] == 1
    first = list(hub.put)
    # Again: what exists already, by its hash, is not uploaded a second time.
    again = upload.start(exported_run, package, plan, TOKEN)
    assert again.wait(300) is Status.FINISHED, again.log_tail()
    assert hub.put == first
    assert "sent" not in again.log_tail()
    for path in workspace.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert TOKEN.encode() not in path.read_bytes(), path


def test_a_token_that_may_not_write(exported_run, hub, package):
    plan = upload.plan(package, "huggingface", "me/model", endpoint=hub.address)
    job = upload.start(exported_run, package, plan, "hf_wrong")
    assert job.wait(300) is Status.FAILED
    assert "no access" in why(job).en
    assert "hf_wrong" not in job.log_tail()
    assert hub.files == {}


def test_the_token_goes_to_the_hub_that_is_named_not_to_a_mirror(package, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example.org")
    assert upload.plan(package, "huggingface", "me/model").endpoint == "https://huggingface.co"


def test_refused_before_anything_is_sent(exported_run, hub, package):
    plan = upload.plan(package, "huggingface", "me/model", endpoint=hub.address)
    with pytest.raises(BadInput) as refused:
        upload.start(exported_run, package, plan, "  ")
    assert "HF_TOKEN" in str(refused.value)
    with pytest.raises(BadInput) as refused:
        upload.start(exported_run, package, upload.plan(package, "openxlab", "me/model"), TOKEN)
    assert "git" in str(refused.value)
    for address in ("http://example.org", "http://127.0.0.1.example.org", "http://127.0.0.10.example.org:80"):
        far = upload.plan(package, "huggingface", "me/model", endpoint=address)
        with pytest.raises(BadInput):
            upload.start(exported_run, package, far, TOKEN)
    assert not (exported_run.path / "upload.json").exists()
    assert json.dumps(plan.to_json())
