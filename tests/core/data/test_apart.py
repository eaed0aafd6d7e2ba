"""Held-out pieces of a corpus: which, how many, and that no trained piece contains their text."""

import random

from core.data import apart, corpus, storage, versions
from core.data.corpus import Wanted
from core.ground.files import read_json, write_json


def book(tmp_path, sentences=600):
    words = random.Random(3)
    text = " ".join(
        f"The {words.choice('red blue old new far'.split())} house {words.randrange(10**6)} belongs to number {number}."
        for number in range(sentences)
    )
    (tmp_path / "book.txt").write_text(text, encoding="utf-8")
    return tmp_path / "book.txt"


def test_some_pieces_are_kept_apart_and_told(workspace, tmp_path):
    made, told, _ = corpus.make(workspace, [book(tmp_path)], Wanted(chunk=300, overlap=60, held_out=0.2))
    held = apart.texts_apart(workspace, made)
    assert made.rows + told.held_out == told.pieces
    assert 0.1 * told.pieces < told.held_out < 0.3 * told.pieces
    assert made.made["held_out"] == told.held_out == len(held)
    trained = "\n".join(map(apart.text_of, made.load()))
    # None of their sentences is trained on, including sentences that pieces have in common.
    assert not [sentence for text in held for sentence in text.split(". ") if sentence in trained]
    again, same = versions.remake(workspace, made)
    assert same
    assert apart.texts_apart(workspace, again) == held


def test_an_edited_corpus_has_those_of_the_first(workspace, tmp_path):
    made, told, _ = corpus.make(workspace, [book(tmp_path)], Wanted(chunk=300, overlap=60, held_out=0.2))
    _, edits = versions.replaced(made, "house", "barn")
    edited = versions.of_edits(workspace, made, edits, None)
    assert edited.is_text
    assert apart.texts_apart(workspace, edited) == apart.texts_apart(workspace, made)
    assert len(apart.texts_apart(workspace, edited)) == told.held_out


def test_a_small_corpus_is_trained_whole(workspace, tmp_path):
    made, told, _ = corpus.make(workspace, [book(tmp_path, 100)], Wanted(chunk=300, overlap=60, held_out=0.5))
    assert (told.held_out, made.rows) == (0, told.pieces)
    assert told.pieces < apart.LEAST_PIECES
    assert not (made.path / apart.FILE).exists()
    whole, told, _ = corpus.make(workspace, [book(tmp_path)], Wanted(chunk=300, overlap=60, held_out=0))
    assert (told.held_out, whole.rows) == (0, told.pieces)


def test_a_corpus_of_an_earlier_version_is_made_again_whole(workspace, tmp_path):
    made, _, _ = corpus.make(workspace, [book(tmp_path)], Wanted(chunk=300, overlap=60, held_out=0))
    facts = read_json(made.path / "dataset.json")
    del facts["made"]["wanted"]["held_out"]
    write_json(made.path / "dataset.json", facts)
    assert versions.remake(workspace, storage.find(workspace, made.name))[1]


def test_a_models_own_answers_go_along_and_are_no_pieces(workspace, tmp_path):
    row = {"conversation": [{"input": "<user>1+1?<bot>", "output": "2", "need_eos_token": False}]}
    answers = corpus.Answers("small", [row])
    made, told, _ = corpus.make(workspace, [book(tmp_path, 30)], Wanted(), answers=answers)
    assert (made.rows, made.made["replay_model"]) == (told.pieces + 1, "small")
    assert [apart.is_piece(one) for one in made.load()] == [True] * told.pieces + [False]
    assert versions.remake(workspace, made)[1]
