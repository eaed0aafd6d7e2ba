"""Answers are stored in a file for all processes, whatever is in its place."""

from core.ground import kept_answers
from core.ground.kept_answers import KeptAnswers, key


def test_two_who_keep_at_a_time_lose_nothing(tmp_path):
    path = tmp_path / "answers" / "a.jsonl"
    one, other = KeptAnswers(path), KeptAnswers(path)
    one.keep({"a": {"text": "甲\n乙"}})
    other.keep({"b": [1, 2]})
    one.keep({})
    assert KeptAnswers(path).known == {"a": {"text": "甲\n乙"}, "b": [1, 2]}
    assert other.get("a") is None


def test_a_file_that_was_broken_off_is_gone_on_with(tmp_path):
    path = tmp_path / "a.jsonl"
    KeptAnswers(path).keep({"a": 1})
    for bad in (b'["b", {"te', b"\xff\xfe\n", b"3\n", b'["c"]\n'):
        path.write_bytes(path.read_bytes() + bad)
        assert KeptAnswers(path).known == {"a": 1}
    KeptAnswers(path).keep({"d": 4})
    assert KeptAnswers(path).known == {"a": 1, "d": 4}


def test_where_it_cannot_be_written_it_remembers_only_for_itself(tmp_path):
    (tmp_path / "file").touch()
    for path in (None, tmp_path / "file" / "a.jsonl", tmp_path):
        kept = KeptAnswers(path)
        kept.keep({"a": 1})
        assert kept.get("a") == 1
        assert KeptAnswers(path).get("a") is None


def test_it_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_answers, "MOST_BYTES", 20)
    path = tmp_path / "a.jsonl"
    KeptAnswers(path).keep({"a": 1})
    KeptAnswers(path).keep({"b": "x" * 20})
    assert len(KeptAnswers(path).known) == 2
    KeptAnswers(path).keep({"c": 3})
    assert KeptAnswers(path).known == {"c": 3}


def test_all_that_is_asked_is_in_the_key():
    keys = {key("p", ["s"], 48), key("p", ["s"], 20), key("q", ["s"], 48), key("p", ["t"], 48), key("p", [], 48)}
    assert len(keys) == 5
    assert key("p", ["s"], 48) == key("p", ["s"], 48)
