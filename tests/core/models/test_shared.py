"""Shared models on the machine are found, the course's first, each once."""

from core.models import shared
from tests.core.models.hub.closed import close
from tests.fakes.model import write_model


def test_what_lies_on_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HOME", raising=False)
    share, other = tmp_path / "share", tmp_path / "other"
    course = write_model(share / "Shanghai_AI_Laboratory" / "internlm2-chat-1_8b")
    flat = write_model(share / "qwen")
    hub = "home/.cache/huggingface/hub/models--internlm--internlm2-1_8b/snapshots/abc"
    kept = write_model(tmp_path / hub)
    scope = write_model(tmp_path / "home/.cache/modelscope/hub/models/Shanghai_AI_Laboratory/internlm2-1_8b")
    (share / "no model").mkdir()
    other.mkdir()
    (other / "internlm2-chat-1_8b").symlink_to(course)
    monkeypatch.setenv("XTUNER_STUDIO_MODELS", f"{share}:{other}:/no/such:")
    found = [path for path in shared.on_this_machine() if path.is_relative_to(tmp_path)]
    assert found == [course, scope, kept, flat] or found == [course, kept, scope, flat]
    assert shared.named("Shanghai_AI_Laboratory/internlm2-chat-1_8b") == course
    assert shared.named("internlm/qwen") == flat


def test_what_is_no_name_of_a_model(monkeypatch, tmp_path):
    monkeypatch.setenv("XTUNER_STUDIO_MODELS", str(tmp_path))
    for name in ("", "x", "../../etc", "a/../b", "/etc/passwd", "a/b/c", "a b/c", "nobody/nothing-like-it"):
        assert shared.named(name) is None


def test_a_directory_that_cannot_be_read_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("XTUNER_STUDIO_MODELS", str(tmp_path))
    monkeypatch.setattr(shared.Path, "iterdir", lambda _self: (_ for _ in ()).throw(PermissionError()))
    assert shared.on_this_machine() == []


def test_what_another_user_keeps_for_himself_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    theirs, mine = tmp_path / "root", tmp_path / "mine"
    write_model(theirs / "share" / "internlm2-chat-1_8b")
    model = write_model(mine / "qwen")
    monkeypatch.setenv("XTUNER_STUDIO_MODELS", f"{theirs / 'share'}:{mine}:{theirs}")
    close(monkeypatch, theirs)
    assert [path for path in shared.on_this_machine() if path.is_relative_to(tmp_path)] == [model]
    assert shared.named("internlm/internlm2-chat-1_8b") is None
