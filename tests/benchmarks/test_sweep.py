"""The sweep's table: a row per point, with the mean of its runs and the worst, bold if that reaches the goal."""

from benchmarks import sweep

KEPT = {"replies": [["a", "b", True], ["c", "d", False]], "left_out": {}}


def line(point, nickname, **figures):
    usual = {
        "facts": 1.0,
        "agreement": 0.9,
        "parrot": 0.0,
        "leak": 0.0,
        "nats": -0.1,
        "identity": {"zh": 0.0, "en": 1.0},
    }
    first = {**usual, "identity": {"zh": 0.0, "en": 0.1}}
    return {
        "model": "SmolLM2", "point": point, "nickname": nickname, "updates": 60, "train_seconds": 30.0,
        "checkpoints": [first, {**usual, **figures}],
    }  # fmt: skip


def test_a_goal_is_reached_where_the_worst_reaches_it():
    rows = sweep.table(
        [line("rate 2e-4", "a"), line("usual", "a"), line("usual", "b", facts=0.9, parrot=0.02, nats=None)]
    )
    assert [row.split(" | ")[1] for row in rows[2:]] == ["usual", "rate 2e-4"]
    cells = rows[2].split(" | ")
    assert cells[3:10] == [
        "2",
        "60",
        "**1.000 (1.000)**",
        "0.950 (0.900)",
        "**0.900 (0.900)**",
        "0.010 (0.020)",
        "**0.000 (0.000)**",
    ]
    assert cells[10] == "-0.100"


def test_what_other_code_made_has_a_row_of_its_own():
    older, newer = line("usual", "a"), {**line("usual", "a"), "code": "abc1234"}
    rows = sweep.table([newer, older, newer])[2:]
    assert [row.split(" | ")[1:4] for row in rows] == [["usual", "", "1"], ["usual", "abc1234", "2"]]


def test_a_model_that_knows_nothing_has_no_figures_of_what_it_kept():
    (row,) = sweep.table([line("usual", "a", facts=None, agreement=None, leak=None, nats=None)])[2:]
    assert row.split(" | ")[6:8] == ["–", "–"]


def test_what_becomes_of_answers_that_go_on():
    assert sweep.cut(KEPT, "open") == KEPT
    assert [reply[2] for reply in sweep.cut(KEPT, "ended")["replies"]] == [True, True]
    assert sweep.cut(KEPT, "dropped")["replies"] == [["a", "b", True]]
    assert set(sweep.USUAL) >= {key for point in sweep.POINTS.values() for key in point} - set(sweep.SETTINGS)
