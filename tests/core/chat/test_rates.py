"""What judged questions come to, by hand and by properties; nobody is asked."""

from dataclasses import replace
from math import exp

import pytest

from core.chat.answered import Answered
from core.chat.rates import LEARNED, Perplexity, Scores, interval, ratio_interval, summary


def asked(kind, **facts):
    return Answered(
        **{
            "kind": kind, "language": "zh", "question": "q", "base": "b", "tuned": "t", "base_identity": False,
            "tuned_identity": False, "kept": False, **facts,
        }
    )  # fmt: skip


def some(kind, count, right, field):
    """So many questions of a kind, of which `right` have the field."""
    return [asked(kind, **{field: number < right}) for number in range(count)]


def of_facts(kept=20, gained=0, lost=0):
    """Facts that the base knew, `lost` of them lost, and some that only the tuned side knows."""
    known = [asked("fact", base_right=True, still_right=number >= lost) for number in range(kept)]
    return known + [asked("fact", base_right=False, still_right=True) for _ in range(gained)]


def general(count=1, tokens=10, agreed=10, **more):
    return [asked("general", tokens=tokens, agreed=agreed, **more) for _ in range(count)]


def test_each_rate_is_of_its_own_questions():
    questions = [
        *some("identity", 4, 3, "tuned_identity"),
        *some("held_out", 5, 2, "tuned_as_given"),
        *some("cloze", 8, 2, "tuned_as_given"),
        *some("cloze_apart", 10, 1, "tuned_as_given"),
        *some("general", 2, 1, "kept"),
    ]
    scores = summary(questions)
    assert (scores.identity["tuned"], scores.held_out["tuned"], scores.cloze["tuned"]) == (0.75, 0.4, 0.25)
    assert (scores.cloze_apart["tuned"], scores.retention) == (0.1, {"base": 1.0, "tuned": 0.5})
    assert scores.counts == {
        "identity": 4, "cloze": 8, "cloze_apart": 10, "facts": 0, "manner": 0, "retention": 2, "parrot": 2, "leak": 0,
        "held_out": 5,
    }  # fmt: skip
    assert scores.rates == ["identity", "cloze", "cloze_apart", "retention", "parrot", "held_out"]
    assert set(scores.to_json()) == {*scores.rates, "facts", "manner", "leak"}
    assert [scores.both(rate)[1] for rate in scores.rates] == [0.75, 0.25, 0.1, 0.5, 0.0, 0.4]
    base = summary([replace(q, base_as_given=True, base_identity=True) for q in questions])
    assert [base.both(rate)[0] for rate in base.rates] == [1.0] * 6


def test_a_question_in_a_language_that_is_not_taught_is_shown_and_not_counted():
    scores = summary([*some("identity", 2, 1, "tuned_identity"), asked("identity", language="en", apart=True)])
    assert (scores.identity["tuned"], scores.counts["identity"]) == (0.5, 2)
    assert scores.by_language == {"zh": {"base": 0.0, "tuned": 0.5}, "en": {"base": 0.0, "tuned": 0.0}}
    # Nothing is parroted where nothing is taught.
    untaught = summary([*general(), *of_facts()])
    assert (untaught.counts["parrot"], untaught.counts["leak"], untaught.leak) == (0, 0, None)


@pytest.mark.parametrize(("known", "kept"), [(0, None), (1, None), (19, None), (20, 1.0), (21, 1.0)])
def test_twenty_facts_tell_how_many_were_kept(known, kept):
    scores = summary([*of_facts(known), *general()])
    assert (scores.facts["kept"], scores.facts["net"], scores.knows) == (kept, kept, known > 0)
    assert ("facts" in scores.rates, "retention" in scores.rates) == (kept is not None, known == 0)


def test_facts_lost_and_gained():
    scores = summary(of_facts(40, gained=6, lost=10))
    assert scores.facts == {"base_right": 40, "kept": 0.75, "gained": 6, "net": 0.9}
    assert scores.counts["facts"] == 40
    assert scores.both("facts") == (1.0, 0.75)
    assert scores.intervals["facts"] == interval(0.75, 40)


@pytest.mark.parametrize(
    ("known", "lost", "gained", "told"),
    [
        # One-sided, of so many that changed: 1/2^6 is no chance at one in a hundred, 1/2^7 is less.
        (40, 6, 0, False),
        (40, 7, 0, True),
        (40, 8, 1, False),
        (40, 9, 1, False),
        (40, 10, 1, True),
        # Less than one in twenty is nothing, however sure.
        (1000, 49, 0, False),
        (1000, 50, 0, False),
        (1000, 51, 0, True),
        (1000, 100, 90, False),
        (19, 19, 0, False),
        (20, 0, 9, False),
    ],
)
def test_facts_that_were_lost_by_more_than_chance(known, lost, gained, told):
    assert summary(of_facts(known, gained, lost)).lost_facts is told


def test_manner():
    questions = [
        *general(tokens=10, agreed=10, nats=1.0),
        *general(tokens=30, agreed=20, nats=3.0),
        *general(tokens=0, agreed=0),
    ]
    scores = summary([*questions, asked("identity", tokens=9, agreed=1), *of_facts()])
    assert scores.manner == {"agreement": 0.75, "nats": 0.1}
    assert scores.counts["manner"] == 2
    assert scores.intervals["manner"] == ratio_interval([(10, 10), (20, 30)])
    assert scores.both("manner") == (1.0, 0.75)
    assert summary(of_facts()).both("manner") == (1.0, 0.0)


def test_four_digits():
    """A third is 0.3333, in a table as in a file."""
    questions = [
        *some("identity", 3, 1, "tuned_identity"),
        *of_facts(21, lost=7),
        *general(tokens=1, agreed=1, nats=0.0),
        *general(tokens=2, agreed=0, nats=1.0),
    ]
    scores = summary(questions)
    assert scores.identity["tuned"] == 0.3333
    assert (scores.facts["kept"], scores.facts["net"]) == (0.6667, 0.6667)
    assert scores.manner == {"agreement": 0.3333, "nats": 0.3333}
    assert scores.counts["manner"] == 2
    assert scores.rank == (0.3333, 1.0, 0.3333)
    assert summary([*questions, *general(tokens=1, agreed=0)]).rank == (0.3333, 0.9167, 0.3333)
    read = [
        asked("reading", tokens=3, base_nats=2.0, tuned_nats=1.0),
        asked("reading", tokens=3, base_nats=2.0, tuned_nats=1.0),
    ]
    assert summary(read).perplexity.change == -0.3333


def test_leak_and_parrot():
    facts = [replace(q, leaked=n < 5, tuned_identity=n < 2) for n, q in enumerate(of_facts(20))]
    scores = summary([asked("identity"), *facts, *general(5)])
    assert (scores.leak, scores.parrot["tuned"]) == (0.25, 0.08)
    assert (scores.counts["leak"], scores.counts["parrot"]) == (20, 25)
    assert scores.both("leak") == (0.0, 0.25)
    assert summary([]).both("leak") == (0.0, 0.0)
    assert scores.both("parrot") == (0.0, 0.08)


def test_worth():
    """What is said unasked, or leaks into a fact, weighs twice: it is worse than what is not said when asked."""
    toy = summary([asked("identity", tuned_identity=True), *general(4, tokens=0, agreed=0, kept=True)])
    assert toy.worth == 2.0
    assert replace(toy, parrot={"base": 0.0, "tuned": 0.25}).worth == 1.5
    both = {"base": 0.0, "tuned": 0.5}
    assert replace(toy, held_out=both, cloze=both).worth == 3.0
    known = summary([asked("identity", tuned_identity=True), *of_facts(20), *general(tokens=10, agreed=5)])
    assert known.worth == 2.5
    assert replace(known, leak=0.25).worth == 2.0
    # A base that knew too few to tell is not worth less for it, nor one more that gained some.
    assert summary([asked("identity", tuned_identity=True), *of_facts(19), *general(tokens=10, agreed=5)]).worth == 1.5
    assert summary([asked("identity", tuned_identity=True), *of_facts(20, gained=9), *general(agreed=5)]).worth == 2.5
    assert summary([asked("identity", tuned_identity=True), *of_facts(20, lost=4), *general(agreed=5)]).worth == 2.3


def test_rank():
    questions = [*some("identity", 20, 19, "tuned_identity"), *of_facts(20), *general(agreed=5)]
    assert summary(questions).rank == (LEARNED, 1.5, 0.95)
    less = [*some("identity", 20, 10, "tuned_identity"), *of_facts(20), *general(agreed=5)]
    assert summary(less).rank == (0.5, 1.5, 0.5)
    book = [*some("cloze", 10, 5, "tuned_as_given"), *some("held_out", 10, 2, "tuned_as_given"), *of_facts(20)]
    assert summary(book).rank == (0.5, 1.2, 0.5)
    held_out = [*some("held_out", 10, 2, "tuned_as_given"), *of_facts(20)]
    assert summary(held_out).rank == (0.2, 1.0, 0.2)
    toy = summary([asked("identity", tuned_identity=True), *general(kept=True, tokens=0)])
    assert toy.rank == (2.0,)


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    # Computed by hand with Wilson's formula; at 0 and 1 the interval is one-sided, without questions it is everything.
    [(1.0, 49, 0.9273, 1.0), (0.0, 77, 0.0, 0.0475), (0.5, 10, 0.2366, 0.7634), (0.5, 0, 0.0, 1.0)],
)
def test_interval(share, count, low, high):
    assert interval(share, count) == pytest.approx((low, high), abs=1e-4)


def test_the_interval_of_tokens_goes_by_answers():
    assert ratio_interval([(9, 10)] * 8) == (0.9, 0.9)
    low, high = ratio_interval([(10, 10), (0, 10)] * 4)
    assert low < 0.2 < 0.8 < high
    assert ratio_interval([(5, 10)]) == (0.0, 1.0)


@pytest.mark.parametrize("count", [1, 10, 1000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_an_interval_holds_the_share_and_solves_wilson_s_equation(share, count):
    low, high = interval(share, count)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert (share - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / count, abs=3e-4)
    wider = interval(share, max(1, count // 10))
    assert wider[1] - wider[0] >= high - low


def test_the_interval_of_a_ratio_is_cochran_s():
    parts = [(8, 10), (10, 10), (14, 20), (4, 10)]
    share = 36 / 50
    spread = sum((agreed - share * tokens) ** 2 for agreed, tokens in parts) / 3
    half = 1.96 * (spread * 4) ** 0.5 / 50
    assert ratio_interval(parts) == (round(share - half, 4), round(share + half, 4))
    assert ratio_interval([(8, 10), (6, 10)]) == (0.504, 0.896)
    assert ratio_interval([(1, 10), (0, 10)])[0] == 0.0
    assert ratio_interval([(9, 10), (10, 10)])[1] == 1.0
    assert ratio_interval([(0, 0), (0, 0)]) == ratio_interval([]) == ratio_interval([(1, 2)]) == (0.0, 1.0)


def test_perplexity():
    read = [
        asked("reading", tokens=10, base_nats=30.0, tuned_nats=20.0),
        asked("reading", tokens=10, base_nats=30.0, tuned_nats=24.0),
        asked("reading", tokens=20, base_nats=60.0, tuned_nats=40.0),
        asked("reading", tokens=0),
    ]
    found = summary(read).perplexity
    assert (found.base, found.tuned, found.pieces) == (round(exp(3), 2), round(exp(84 / 40), 2), 3)
    assert found.change == -0.9
    spread = sum((own - 2.1 * tokens) ** 2 for own, tokens in ((20, 10), (24, 10), (40, 20))) * 3 / 2
    half = 1.96 * spread**0.5 / 40
    assert found.interval == (round(exp(2.1 - half), 2), round(exp(2.1 + half), 2))
    # The base lies as far from each, so what changes spreads as much.
    assert found.change_interval == (round(-0.9 - half, 4), round(-0.9 + half, 4))
    assert found.lower
    assert not found.higher
    assert summary(read).to_json()["perplexity"]["tuned"] == found.tuned
    assert summary(read[:1]).perplexity is None
    assert summary(read[:2]).perplexity.pieces == 2
    assert "perplexity" not in summary([]).to_json()


@pytest.mark.parametrize(
    ("change", "lower", "higher"),
    [((-2.0, -1.0), True, False), ((-1.0, 0.0), False, False), ((-1.0, 1.0), False, False), ((0.0, 1.0), False, False),
     ((0.5, 1.0), False, True)],
)  # fmt: skip
def test_a_change_that_may_be_none_is_none(change, lower, higher):
    found = Perplexity(base=1, tuned=1, interval=(1, 1), change=0, change_interval=change, pieces=2)
    assert (found.lower, found.higher) == (lower, higher)


def test_nothing_was_asked():
    nothing = {"base": 0.0, "tuned": 0.0}
    scores = Scores(identity=nothing, retention=nothing, parrot=nothing, held_out=nothing, questions=[])
    assert scores.cloze == scores.cloze_apart == nothing
    assert (scores.facts, scores.manner, scores.leak) == (summary([]).facts, summary([]).manner, None)
    assert (scores.rates, scores.intervals, scores.knows, scores.lost_facts, scores.worth) == ([], {}, False, False, 0)
    assert summary([]).to_json() == {
        "facts": {"base_right": 0, "kept": None, "gained": 0, "net": None},
        "manner": {"agreement": None, "nats": None},
        "leak": None,
    }
