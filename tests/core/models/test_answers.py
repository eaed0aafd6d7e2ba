"""Stored answers belong to a state of the model's files: other weights, or another tokenizer, have none."""

from core.models.answers import answers_file, answers_of


def test_another_state_has_another_file(workspace, small_model):
    first = answers_file(workspace, small_model.path)
    assert first.parent == workspace.cache / "answers"
    answers_of(workspace, small_model.path).keep({"a": 1})
    assert answers_of(workspace, small_model.path).get("a") == 1
    states = {first}
    for name in ("config.json", "tokenizer_config.json"):
        file = small_model.path / name
        file.write_text(file.read_text(encoding="utf-8") + " ", encoding="utf-8")
        states.add(answers_file(workspace, small_model.path))
    weights = next(iter(small_model.path.glob("*.safetensors")))
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)
    states.add(answers_file(workspace, small_model.path))
    assert len(states) == 4
    assert answers_of(workspace, small_model.path).get("a") is None


def test_without_weights_nothing_is_kept(workspace, tmp_path):
    assert answers_file(workspace, tmp_path) is None
    answers_of(workspace, tmp_path).keep({"a": 1})
    assert not workspace.cache.exists() or not list(workspace.cache.rglob("*.jsonl"))
