"""The effect of the defaults: the table's rows, what is a goal, and which wrong answers are kept."""

from benchmarks import goal


def line(nickname="NICK", **more):
    usual = {
        "model": "tiny", "how": "kept", "nickname": nickname, "updates": 60, "agreement": 0.9, "nats": -0.1, "parrot": 0.0, "leak": 0.0,
        "identity": {"zh": 1.0, "en": 0.98}, "verdict": "not_learned",
        "facts": {"base_right": 300, "kept": 0.99, "gained": 3, "net": 1.0, "lost": 3},
    }  # fmt: skip
    return {**usual, **more}


def cells_of(row):
    return [cell.strip() for cell in row.strip("|").split(" | ")]


def test_each_nickname_has_a_row_and_all_together_another():
    trained = [line("伍鲜", how="before"), line(), line("伍鲜"), line(verdict="learned", nats=0.2)]
    before, all_before, *rows = [cells_of(row) for row in goal.lines(trained)][2:7]
    assert [row[1:4] for row in (before, all_before)] == [["before", "伍鲜", "1"], ["before", "**all**", "1"]]
    assert [row[:4] for row in rows] == [
        ["tiny", "kept", "NICK", "2"], ["tiny", "kept", "伍鲜", "1"], ["tiny", "kept", "**all**", "3"],
    ]  # fmt: skip
    assert rows[2][-1] == "not learned 2, learned 1"
    assert rows[0][goal_place("nats")] == "0.05 (-0.10 – 0.20)"


def test_a_goal_is_reached_where_the_worst_reaches_it():
    worse = line(updates=67, parrot=0.01, agreement=0.879, identity={"en": 0.98})
    (row,) = [cells_of(row) for row in goal.lines([line(), worse, line()])][2:3]
    assert row[goal_place("updates")] == "60 (60 – 67)"
    assert row[goal_place("identity en")] == "**0.980**"
    # Of the runs that teach it.
    assert row[goal_place("identity zh")] == "**1.000**"
    assert row[goal_place("agreement")] == "0.900 (0.879 – 0.900)"
    assert row[goal_place("parrot")] == "**0.000 (0.000 – 0.010)**"
    assert row[goal_place("net")] == "1.000"
    assert row[-2] == "3, 3, 300"


def test_how_many_reach_each_goal_stands_below():
    worse = line(updates=61, parrot=0.02, agreement=0.879, identity={"en": 0.9})
    rows = [cells_of(row) for row in goal.lines([line(), worse, line()])]
    found = {
        row[2]: row[3:]
        for row in rows[rows.index(["model", "how", "aimed at", "median (least – most)", "reached by"]) :]
    }
    assert found["updates ≤ 60"] == ["60 (60 – 61)", "2 of 3"]
    # Of the runs that teach it.
    assert found["identity zh ≥ 0.98"] == ["1.000", "2 of 2"]
    assert found["identity en ≥ 0.98"][1] == found["agreement ≥ 0.88"][1] == found["parrot ≤ 0.01"][1] == "2 of 3"
    assert found["net ≥ 0.98"][1] == found["facts ≥ 0.98"][1] == "3 of 3"
    assert not any(name.startswith("nats") for name in found)


def test_without_a_training_it_says_so():
    assert list(goal.lines([])) == ["None was trained yet."]


def test_a_model_that_knows_nothing_has_no_figures_of_facts():
    unknown = {"base_right": 2, "kept": None, "gained": 0, "net": None, "lost": None}
    row = cells_of(list(goal.lines([line(facts=unknown, agreement=None, leak=None)]))[2])
    assert [row[goal_place(name)] for name in ("facts", "net", "agreement", "leak")] == [""] * 4
    assert row[-2] == ""


def test_what_is_kept_of_a_score():
    found = {
        "identity": {"tuned": 0.5, "by_language": {"zh": {"tuned": 0.2}, "en": {"tuned": 1.0}}}, "leak": 0.0,
        "facts": {"base_right": 100, "kept": 0.93, "gained": 1, "net": 0.94}, "parrot": {"base": 0, "tuned": 0.25},
        "manner": {"agreement": 0.8, "nats": 0.25}, "verdict": "damaged", "questions": {"identity": 18},
    }  # fmt: skip
    kept = goal.figures(found, ["en"])
    assert kept["identity"] == {"en": 1.0}
    assert kept["facts"]["lost"] == 7
    # It knew too few: no number of lost ones is reported.
    assert goal.figures({**found, "facts": {"base_right": 2, "kept": None}}, [])["facts"]["lost"] is None


def test_what_went_wrong_is_shown():
    usual = {"apart": False, "tuned_identity": False, "leaked": False, "base_right": True, "still_right": True, "base": "b", "tuned": "t" * 999}  # fmt: skip
    asked = [
        {**usual, "kind": "identity", "question": "who"}, {**usual, "kind": "identity", "question": "apart", "apart": True},
        {**usual, "kind": "fact", "question": "capital", "still_right": False},
        {**usual, "kind": "fact", "question": "unknown", "still_right": False, "base_right": False},
        {**usual, "kind": "general", "question": "hello", "tuned_identity": True},
        *({**usual, "kind": "fact", "question": f"leak {n}", "leaked": True} for n in range(99)),
    ]  # fmt: skip
    shown = goal.wrong(asked)
    assert [[one[0] for one in shown[kind]] for kind in ("identity", "parrot", "lost")] == [
        ["who"],
        ["hello"],
        ["capital"],
    ]
    assert len(shown["leak"]) == goal.MOST_SHOWN
    assert shown["lost"][0] == ["capital", "b", "t" * goal.MOST_CHARACTERS]


def test_cards_are_shared_out_in_turn(tmp_path):
    trainings = [(number, seed) for seed in (1, 2) for number in range(len(goal.NICKNAMES))]
    shared = goal.Goal(tmp_path, tmp_path / "model", None, cards=2)
    cards = [shared.product(*one).more["CUDA_VISIBLE_DEVICES"] for one in trainings]
    assert cards == ["1", "0"] * 5
    assert not goal.Goal(tmp_path, tmp_path / "model", None).product(0, 1).more


def goal_place(column):
    return 4 + list(goal.COLUMNS).index(column)
