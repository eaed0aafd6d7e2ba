"""The sections on a run's preparation: the rows shown."""

from core.report import preparation


def test_an_answer_that_was_cut_off_is_shown_with_the_others():
    turn = {"input": "a", "output": "b" * 9000, "need_eos_token": False}
    (shown,) = preparation._samples([{"conversation": [turn]}], "x")
    assert shown["conversation"][0]["need_eos_token"] is False
    assert len(shown["conversation"][0]["output"]) < 9000
