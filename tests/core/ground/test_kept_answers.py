"""Answers are kept in a file for all who ask, whatever lies in its place."""

from core.ground import kept_answers
from core.ground.kept_answers import KeptAnswers, key


def test_two_who_keep_at_a_time_lose_nothing(tmp_path):
    path = tmp_path / "answers" / "a.json"
    one, other = KeptAnswers(path), KeptAnswers(path)
    one.keep({"a": {"text": "甲"}})
    other.keep({"b": [1, 2]})
    assert KeptAnswers(path).known == {"a": {"text": "甲"}, "b": [1, 2]}
    assert other.get("a") is None


def test_what_is_no_file_of_answers_is_none(tmp_path):
    path = tmp_path / "a.json"
    for text in ("", "[1]", '{"answers": 3}', '{"answers": {"a"'):
        path.write_text(text)
        assert KeptAnswers(path).get("a") is None
    KeptAnswers(path).keep({"a": 1})
    assert KeptAnswers(path).get("a") == 1


def test_without_a_place_it_remembers_only_for_itself():
    kept = KeptAnswers(None)
    kept.keep({"a": 1})
    assert kept.get("a") == 1
    assert KeptAnswers(None).get("a") is None


def test_it_does_not_grow_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_answers, "MOST_ANSWERS", 3)
    path = tmp_path / "a.json"
    KeptAnswers(path).keep({"a": 1, "b": 2})
    KeptAnswers(path).keep({"c": 3})
    assert len(KeptAnswers(path).known) == 3
    KeptAnswers(path).keep({"d": 4})
    assert KeptAnswers(path).known == {"d": 4}


def test_all_that_is_asked_is_in_the_key():
    keys = {key("p", ["s"], 48), key("p", ["s"], 20), key("q", ["s"], 48), key("p", ["t"], 48), key("p", [], 48)}
    assert len(keys) == 5
    assert key("p", ["s"], 48) == key("p", ["s"], 48)
