"""The workflow in the course's engine: a successful step is kept, a failed one is repeated."""

from benchmarks.course_engine import FAILED, Way, table


def way(workspace):
    return Way(workspace, workspace / "python", "model")


def fails():
    raise RuntimeError("no room")


def never():
    raise AssertionError("done twice")


def test_what_worked_is_kept_and_what_failed_is_done_again(tmp_path):
    first = way(tmp_path)
    first.run, first.foreseen = "a-run", 56
    assert first.step("link", lambda: "linked")
    assert not first.step("train", fails)
    assert first.steps == {"link": "linked", "train": f"{FAILED}: no room"}
    again = way(tmp_path)
    assert (again.steps, again.run, again.foreseen) == (first.steps, "a-run", 56)
    assert again.step("link", never)
    assert again.step("train", lambda: "trained")
    assert way(tmp_path).steps == {"link": "linked", "train": "trained"}


def test_the_table_tells_what_failed_and_what_was_not_reached(tmp_path):
    one, other = Way(tmp_path, tmp_path, "one"), Way(tmp_path, tmp_path, "other")
    one.step("link", lambda: "a | b\nc")
    other.step("link", fails)
    one.step("chat", lambda: "hello")
    lines = table({"versions": {"python": "3.10.13", "xtuner": "0.1.21", "peft": None}}, {"One": one, "Other": other})
    said, _, head, _, *rows = lines.splitlines()
    assert said.endswith("without a GPU: python 3.10.13, xtuner 0.1.21.")
    assert head == "| step | One | Other |"
    assert rows == [f"| link | a \\| b c | {FAILED}: no room |", "| chat | hello | not reached |"]
