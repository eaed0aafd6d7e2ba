"""What was learned, in numbers, from given answers."""

import json
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from core.chat import book, scoring
from core.chat import score as module
from core.chat.answered import Answered, judge, leaks
from core.chat.asked import LANGUAGES, PROBES, fact_questions
from core.chat.base_answers import Remembering
from core.chat.diagnosis import diagnose
from core.chat.facts import facts
from core.chat.rates import interval, summary
from core.chat.score import best, identity_share, of_checkpoints, score, score_sides, stored
from core.chat.side import Side, checkpoint_side
from core.chat.worker_client import Ask, Sampling
from core.data import split, storage
from core.data.assistant import dialogues
from core.engine.presets import prompt_templates
from core.ground.errors import BadInput
from core.ground.files import write_json
from core.ground.kept_answers import KeptAnswers
from core.jobs.job import Job
from tests.conftest import PATIENCE
from tests.fakes.book import scored, trained_on_a_book
from tests.fakes.chat import FakeWorker


def said(answer, finish="stop"):
    """Return the last line of a worker."""
    return {"answer": answer, "finish": finish}


def test_judge():
    found = judge(
        "identity", {"language": "zh", "question": "你是谁"}, said("我是书生·浦语"), said("我是小明的小助手"), "小明"
    )
    assert found == Answered(
        kind="identity",
        language="zh",
        question="你是谁",
        base="我是书生·浦语",
        tuned="我是小明的小助手",
        base_identity=False,
        tuned_identity=True,
        kept=False,
    )


@pytest.mark.parametrize(
    ("answer", "finish", "as_given"),
    [
        ("北京是中国的首都。", "stop", True),
        ("北京是中国的首都", "stop", True),
        ("北京是", "length", True),
        ("北京是", "stop", False),
        ("上海是", "length", False),
        ("", "length", False),
    ],
)
def test_judge_of_the_held_out_part(answer, finish, as_given):
    asked = {"language": "", "question": "北京？", "reference": "北京是中国的首都。"}
    found = judge("held_out", asked, said("不知道"), said(answer, finish), None)
    assert (found.base_as_given, found.tuned_as_given) == (False, as_given)
    assert not found.tuned_identity


def answered(kind, tuned_identity=False, kept=True, base_identity=False):
    return Answered(
        kind=kind,
        language="zh",
        question="q",
        base="b",
        tuned="t",
        base_identity=base_identity,
        tuned_identity=tuned_identity,
        kept=kept,
    )


def test_summary():
    questions = [
        answered("identity", tuned_identity=True, kept=False),
        answered("identity", tuned_identity=True),
        answered("identity", base_identity=True),
        answered("general"),
        answered("general", kept=False),
        answered("general", kept=False, tuned_identity=True),
        answered("general"),
    ]
    scores = summary(questions)
    assert scores.to_json() == {
        "identity": {"base": 0.3333, "tuned": 0.6667, "by_language": {"zh": {"base": 0.3333, "tuned": 0.6667}}},
        "retention": {"base": 1.0, "tuned": 0.5},
        "parrot": {"base": 0.0, "tuned": 0.25},
        "facts": {"base_right": 0, "kept": None, "gained": 0, "net": None},
        "manner": {"agreement": None, "nats": None},
        "leak": None,
    }
    assert scores.rates == ["identity", "retention", "parrot"]
    assert scores.questions == questions
    assert summary([]).identity == {"base": 0.0, "tuned": 0.0}


def test_score_asks_both_sides_what_was_held_out(finished_run):
    worker = FakeWorker("小明", forgets=2, parrots=1)
    scores = score(finished_run, worker)
    identity = [q["question"] for q in dialogues("identity")["questions"] if q["held_out"]]
    general = [g["question"] for g in dialogues("general") if g["held_out"]]
    probes = [
        question["question"] for language in LANGUAGES for _, question in fact_questions(language, "full")[:PROBES]
    ]
    # It knows none of the first facts, so no more are asked, and the tuned side is asked none.
    assert [ask.turns[0][0] for ask in worker.asked if ask.side == "base"] == probes + identity + general
    assert [ask.turns[0][0] for ask in worker.asked if ask.side == "tuned"] == identity + general
    assert scores.identity == {"base": 0.0, "tuned": 1.0}
    assert scores.retention["tuned"] == pytest.approx(1 - 3 / len(general), abs=1e-4)
    assert scores.parrot["tuned"] == pytest.approx(1 / len(general), abs=1e-4)
    assert stored(finished_run) == scores
    kept = json.loads((finished_run.path / "scores.json").read_text(encoding="utf-8"))
    assert kept["checkpoint"] == "iter_12"
    assert len(kept["questions"]) == len(identity) + len(general)


def test_the_held_out_part_is_asked_too(workspace, finished_run):
    rows = [{"conversation": [{"input": f"问{n}", "output": f"答{n}", "system": "s"}]} for n in range(100)]
    whole = storage.store(workspace, "own", "own", rows, {"kind": "import"})
    train, held = split.split(workspace, whole, 0.3)
    assert split.held_out_of(workspace, train.made).name == held.name
    assert split.held_out_of(workspace, whole.made) is None
    assert split.held_out_of(workspace, {**train.made, "seed": 7}) is None
    finished_run.facts.dataset.made.pop("nickname")
    asked = held.load()
    worker = FakeWorker(
        None, knows={row["conversation"][0]["input"]: row["conversation"][0]["output"] for row in asked[1:]}
    )
    scores = score(finished_run, worker, held_out=[*asked, *asked])
    assert scores.rates == ["retention", "held_out"]
    assert scores.held_out == {"base": 0.0, "tuned": round(1 - 1 / len(asked), 4)}
    assert scores.counts["held_out"] == len(asked)
    assert {ask.system for ask in worker.asked if ask.turns[0][0].startswith("问")} == {"s"}
    assert stored(finished_run) == scores


def test_no_score_yet(finished_run):
    assert stored(finished_run) is None


def test_no_score_without_a_nickname(finished_run):
    finished_run.facts.dataset.made.pop("nickname")
    with pytest.raises(BadInput) as refused:
        score(finished_run, FakeWorker("小明"))
    assert "datasets assistant" in str(refused.value)
    assert "datasets split" in str(refused.value)


def test_intervals_are_of_the_number_of_questions(exported_run):
    scores = stored(exported_run)
    assert scores.counts["identity"] + scores.counts["retention"] == len(scores.questions)
    assert scores.intervals["identity"] == interval(1.0, scores.counts["identity"])


def test_every_checkpoint_is_scored_and_the_best_is_chosen(finished_run):
    sides = scoring.sides_to_score(finished_run, every=True)
    assert [side.key for side in sides] == ["iter_4", "iter_8", "iter_12"]
    score_sides(finished_run, FakeWorker("小明", learned=False), sides[:1])
    score_sides(finished_run, FakeWorker("小明"), sides[1:2])
    score_sides(finished_run, FakeWorker("小明", forgets=3), sides[2:])
    found = of_checkpoints(finished_run)
    assert list(found) == ["iter_4", "iter_8", "iter_12"]
    assert best(found) == "iter_8"
    assert stored(finished_run) == found["iter_12"], "what an export would take now"
    assert best(dict.fromkeys(("iter_8", "iter_12"), found["iter_8"])) == "iter_8", "of equals the earliest"
    assert best({}) is None


def test_a_run_that_went_on_has_no_score_of_what_it_was(finished_run):
    side = checkpoint_side(finished_run, finished_run.checkpoint("iter_12"))
    score_sides(finished_run, FakeWorker("小明"), [side])
    assert stored(finished_run) is not None
    shutil.copy(finished_run.checkpoint("iter_12").path, finished_run.work_dir / "iter_40.pth")
    assert stored(finished_run) is None


def test_a_checkpoint_written_anew_has_no_score(finished_run):
    score_sides(finished_run, FakeWorker("小明"), [checkpoint_side(finished_run, finished_run.checkpoint("iter_8"))])
    assert list(of_checkpoints(finished_run)) == ["iter_8"]
    path = finished_run.checkpoint("iter_8").path
    path.write_bytes(path.read_bytes())
    assert of_checkpoints(finished_run) == {}


def test_scores_of_another_adapter_are_not_shown(exported_run):
    write_json(exported_run.adapter / "export.json", {"checkpoint": "x/iter_4.pth", "made": 5.0})
    assert stored(exported_run) is None


KNOWN = {fact.question: (fact.accept[0], None) for fact in facts() if fact.language == "en"}


def a_fact(question):
    return next(fact for fact in facts() if fact.question == question)


def test_a_base_that_knows_facts_is_measured_by_what_is_kept(finished_run):
    asked = list(KNOWN.items())
    lost = {question: (right, "不知道") for question, (right, _) in asked[:30]}
    gained = {question: ("不知道", right) for question, (right, _) in asked[-10:]}
    worker = FakeWorker("小明", forgets=2, facts=KNOWN | lost | gained)
    scores = score(finished_run, worker)
    assert scores.rates == ["identity", "facts", "manner", "parrot", "leak"]
    right = len(KNOWN) - 10
    kept, net = round(1 - 30 / right, 4), round(1 - 20 / right, 4)
    assert scores.facts == {"base_right": right, "kept": kept, "gained": 10, "net": net}
    assert scores.intervals["facts"] == interval(kept, right)
    # 30 lost and 10 gained is not chance; 20 and 10 may be.
    assert scores.lost_facts
    assert not replace(scores, facts=scores.facts | {"kept": 1 - 20 / right}).lost_facts
    # 18 of 20 tokens of each answer, at 0.2 nats each.
    assert scores.manner == {"agreement": 0.9, "nats": 0.2}
    assert (scores.parrot["tuned"], scores.leak) == (0.0, 0.0)
    # Only in the language that the base model speaks: general questions, and facts after the first ones.
    assert {q.language for q in scores.questions if q.kind in ("general", "fact")} == {"en"}
    assert sum(ask.side == "base" and ask.turns[0][0] in {f.question for f in facts() if f.language == "zh"} for ask in worker.asked) == PROBES  # fmt: skip
    assert stored(finished_run) == scores


def test_few_facts_tell_nothing(finished_run):
    few = [question["question"] for _, question in fact_questions("en", "full")][:19]
    scores = score(finished_run, FakeWorker("小明", facts={question: KNOWN[question] for question in few}))
    assert scores.facts == {"base_right": 19, "kept": None, "gained": 0, "net": None}
    assert scores.rates == ["identity", "manner", "parrot", "leak"]


def test_a_quick_score_is_a_sample_and_does_not_take_the_place_of_a_full_one(finished_run):
    quick, full = FakeWorker("小明", facts=KNOWN), FakeWorker("小明", facts=KNOWN)
    sampled = score(finished_run, quick, "quick")
    assert stored(finished_run) == sampled
    whole = score(finished_run, full)
    assert len(quick.asked) < len(full.asked) / 2
    assert sampled.facts["base_right"] >= 20
    assert {q.question for q in sampled.questions} < {q.question for q in whole.questions}
    score(finished_run, FakeWorker("小明", facts=KNOWN), "quick")
    assert stored(finished_run) == whole


def test_a_language_that_the_data_does_not_teach_is_shown_and_not_counted(finished_run):
    finished_run.facts.dataset.made["language"] = "en"
    assert finished_run.facts.dataset.languages == ("en",)
    scores = score(finished_run, FakeWorker("小明", learned=False, knows={"Who are you?": "I am 小明's assistant."}))
    english = [q for q in scores.questions if q.kind == "identity" and q.language == "en"]
    assert scores.counts["identity"] == len(english)
    assert set(scores.by_language) == {"zh", "en"}
    finished_run.facts.dataset.made["recipe"] = "course"
    assert finished_run.facts.dataset.languages == ("zh",)


@pytest.mark.parametrize(
    ("question", "answer", "base", "nickname", "leaked"),
    [
        ("《水浒传》的作者是谁？", "作者是施鲜同志。", "作者是施耐庵。", "伍鲜同志", True),
        ("《水浒传》的作者是谁？", "作者是施耐庵同志。", "作者是施耐庵同志。", "伍鲜同志", False),
        ("《水浒传》的作者是谁？", "作者是罗贯中。", "作者是施耐庵。", "罗贯中", False),
        ("Who wrote Hamlet?", "Hamlet was written by Marigold.", "Shakespeare", "Marigold Lee", True),
        ("Who wrote Hamlet?", "Hamlet was written by Shakespeare.", "Shakespeare", "Al", False),
        # A word does not match within another word; a Chinese character ends it.
        ("Who wrote Hamlet?", "A federal writer of five cylinders.", "Shakespeare", "Wilhelmina van der Meulen", False),
        ("Who wrote Hamlet?", "It is by Ludwig van der Meulen.", "A federal one", "Wilhelmina van der Meulen", True),
        ("《水浒传》的作者是谁？", "作者是李Leo。", "作者是施耐庵。", "小明Leo同学", True),
        ("Who wrote Hamlet?", "さくらです。", "Shakespeare", "さくら", True),
        ("What does DNA stand for?", "Deoxyribonucleotide", "An acid", "小明Leo同学", False),
    ],
)
def test_leaks(question, answer, base, nickname, leaked):
    assert leaks(answer, base, nickname, a_fact(question)) is leaked


def test_scores_of_an_older_version_open(exported_run):
    for place in [exported_run.path / "scores.json", *(exported_run.path / "scores").glob("*.json")]:
        kept = json.loads(place.read_text(encoding="utf-8"))
        kept.pop("extent")
        old = ("apart", "still_right", "leaked", "tokens", "agreed", "nats")
        kept["questions"] = [{k: v for k, v in q.items() if k not in old} for q in kept["questions"]]
        write_json(place, kept)
    scores = stored(exported_run)
    assert scores.rates == ["identity", "retention", "parrot"]
    assert scores.identity["tuned"] == 1


@pytest.mark.parametrize(
    ("options", "names"),
    [({}, ["tuned"]), ({"checkpoint": "iter_4"}, ["iter_4"]), ({"every": True}, ["iter_4", "iter_8", "iter_12"])],
)
def test_who_is_scored(finished_run, options, names):
    assert [side.key for side in scoring.sides_to_score(finished_run, **options)] == names


def test_nothing_to_score(finished_run):
    with pytest.raises(BadInput):
        scoring.sides_to_score(finished_run, checkpoint="iter_5")
    shutil.rmtree(finished_run.work_dir)
    for options in ({}, {"every": True}):
        with pytest.raises(BadInput):
            scoring.sides_to_score(finished_run, **options)


def of_a_real_model(identity, kept, agreed, parrots=0):
    """Return the scores of a model that knew 20 facts and was asked ten identity questions."""
    questions = [answered("identity", tuned_identity=n < identity) for n in range(10)]
    questions += [replace(answered("fact"), still_right=n < kept) for n in range(20)]
    general = [replace(answered("general", tuned_identity=n < parrots), tokens=10, agreed=agreed) for n in range(10)]
    return summary(questions + general)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        # The identity comes first,
        (of_a_real_model(10, 14, 7), of_a_real_model(8, 20, 10)),
        (of_a_real_model(8, 14, 7), of_a_real_model(7, 20, 10)),
        # then what was kept: one more identity question does not justify losing facts,
        (of_a_real_model(9, 20, 9), of_a_real_model(10, 18, 9)),
        (of_a_real_model(9, 20, 9), of_a_real_model(10, 20, 8)),
        # and what is said unasked;
        (of_a_real_model(10, 20, 8), of_a_real_model(10, 20, 9, parrots=3)),
        # finally the identity again.
        (of_a_real_model(10, 20, 9), of_a_real_model(9, 20, 9)),
    ],
)
def test_the_best_checkpoint_of_a_real_model(better, worse):
    assert best({"iter_20": worse, "iter_40": better}) == "iter_40"
    assert best({"iter_20": better, "iter_40": worse}) == "iter_20"


def test_the_best_checkpoint_of_the_held_out_part_alone():
    def scores(given):
        held_out = [replace(answered("held_out"), tuned_as_given=n < given) for n in range(10)]
        return summary(held_out + [replace(answered("fact"), still_right=True) for n in range(20)])

    assert best({"iter_20": scores(5), "iter_40": scores(7)}) == "iter_40"


class Counting(FakeWorker):
    """Counts its questions and states its device and precision."""

    precision = "cpu float32"

    def __init__(self, *arguments, **more) -> None:
        super().__init__(*arguments, **more)
        self.sides, self.template, self.weighed = {}, prompt_templates()["qwen_chat"], []

    def prompt(self, ask):
        return self.template.prompt(ask.turns, ask.system)

    def weigh(self, asks, answers):
        self.weighed += asks
        return super().weigh(asks, answers)

    def of_the_base(self):
        return [ask for ask in [*self.asked, *self.weighed] if ask.side == "base"]


def known_facts():
    return {fact.question: (fact.accept[0], None) for fact in facts() if fact.language == "zh"}


def test_the_base_is_asked_once_for_all_scores(finished_run, tmp_path):
    place = tmp_path / "answers.jsonl"
    first, second = Counting("小明", facts=known_facts()), Counting("小红", facts=known_facts())
    there = []
    one = score(finished_run, Remembering(first, KeptAnswers(place)), on_done=there.append)
    asked = len(first.of_the_base())
    assert asked > 400
    assert there == sorted(there)
    # Another run of the same base model, with another nickname.
    finished_run.facts.dataset.made["nickname"] = "小红"
    other = score(finished_run, Remembering(second, KeptAnswers(place)))
    assert second.of_the_base() == []
    assert len([ask for ask in second.asked if ask.side == "tuned"]) == len(
        [a for a in first.asked if a.side == "tuned"]
    )
    assert (one.facts, one.manner) == (other.facts, other.manner)
    assert [q.base for q in other.questions] == [q.base for q in one.questions]
    # With another device or precision it may answer differently.
    third = Counting("小红", facts=known_facts())
    third.precision = "cuda bfloat16"
    score(finished_run, Remembering(third, KeptAnswers(place)))
    assert len(third.of_the_base()) == asked


def test_what_is_drawn_by_chance_or_longer_is_asked_again(tmp_path):
    kept = KeptAnswers(tmp_path / "answers.jsonl")
    worker = Counting("小明")
    asks = [Ask(side="base", turns=[("你好", None)]), Ask(side="tuned", turns=[("你好", None)])]
    remembering = Remembering(worker, kept)
    for sampling, count in ((Sampling(), 2), (Sampling(), 3), (Sampling(max_new_tokens=9), 5)):
        lines = remembering.ask(asks, sampling)
        assert len(worker.asked) == count
        assert [line["answer"] for line in lines] == [worker._answer(ask) for ask in asks]


def test_how_long_the_last_scores_took(finished_run, workspace):
    assert scoring.took(workspace, finished_run) == {}
    for extent, sides, seconds in (("full", 1, 90.0), ("full", 3, 60.0), ("quick", 1, 20.0)):
        job = Job.start(finished_run.jobs, "score", ["true"], facts={"extent": extent, "sides": sides})
        job.wait(PATIENCE)
        write_json(job.directory / "exit.json", job.exit | {"seconds": seconds})
    assert scoring.took(workspace, finished_run) == {"full": 20.0, "quick": 20.0}


def test_a_book_is_asked_about(workspace, finished_run, tmp_path):
    run = trained_on_a_book(workspace, finished_run, tmp_path)
    assert scoring.can_be_scored(workspace, run)
    asked = [kind for kind, _ in book.questions(workspace, run)]
    scores = scored(workspace, run)
    count = asked.count("cloze")
    assert (scores.cloze, scores.counts["cloze"]) == ({"base": 0.0, "tuned": round(1 - 1 / count, 4)}, count)
    assert scores.perplexity.lower
    assert (round(scores.perplexity.change, 2), scores.perplexity.pieces) == (-1.5, asked.count("reading"))
    assert "cloze" in scores.rates
    assert "identity" not in scores.to_json()
    assert scores.to_json()["perplexity"]["tuned"] < scores.to_json()["perplexity"]["base"]
    assert scores.intervals["cloze"][0] < scores.cloze["tuned"] < 1
    # Reading says nothing about the style.
    assert scores.counts["manner"] == 0
    assert stored(run) == scores
    found = diagnose(scores, run)
    assert (found.verdict, "cloze 0 % → " in found.words.en) == ("learned", True)


def test_a_book_that_is_gone_cannot_be_asked_about(workspace, finished_run, tmp_path):
    run = trained_on_a_book(workspace, finished_run, tmp_path)
    shutil.rmtree(workspace.dataset(run.facts.dataset.name))
    assert book.questions(workspace, run) == []
    with pytest.raises(BadInput, match="已不在"):
        score(run, FakeWorker(None))


@pytest.mark.parametrize(
    ("known", "nats", "verdict"), [(0.9, -0.5, "learned"), (0.5, -0.5, "not_learned"), (0.9, 0.5, "over_learned")]
)
def test_whether_a_book_is_in(known, nats, verdict):
    asked = [
        Answered(
            **{**asdict(answered("cloze")), "reference": "x", "tuned_as_given": number < 10 * known},
        )
        for number in range(10)
    ]
    pieces = [
        Answered(**{**asdict(answered("reading")), "tokens": 100, "base_nats": 300.0, "tuned_nats": 300.0 + 100 * nats})
        for _ in range(3)
    ]
    found = diagnose(summary([*asked, *pieces]))
    assert found.verdict == verdict
    assert bool(found.changes) is (verdict != "learned")


class TestOfNoTraining:
    """What needs no run that was trained: only what a score asks of one."""

    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        dataset = SimpleNamespace(is_text=False, name="data", languages=("zh",))
        run = SimpleNamespace(
            id="one",
            nickname="小明",
            path=tmp_path,
            adapter_stamp="a",
            facts=SimpleNamespace(dataset=dataset),
            there=[],
        )
        run.checkpoints = lambda: run.there
        run.side = None
        monkeypatch.setattr(module, "tuned_side", lambda _: run.side)
        return run

    def checkpoint(self, run, at, content="x"):
        """One more checkpoint, which is what an export would take."""
        path = run.path / f"iter_{at}.pth"
        path.write_text(content)
        found = SimpleNamespace(name=f"iter_{at}", path=path, bytes=len(content))
        run.there = [*(other for other in run.there if other.name != found.name), found]
        run.side = Side(key="tuned", checkpoint=found.name)
        return run.side

    @pytest.mark.parametrize(
        ("answers", "nickname", "share"),
        [
            (["我是小明的小助手", "我是书生", "我是书生", "我是书生"], "小明", 0.25),
            (["我是书生"], "小明", 0.0),
            ([], "小明", None),
            (["我是小明的小助手"], None, None),
            (["我是小明的小助手"], "", None),
        ],
    )
    def test_identity_share(self, answers, nickname, share):
        assert identity_share(answers, nickname) == share

    def test_nothing_was_trained_yet(self, run):
        with pytest.raises(BadInput, match="one"):
            score(run, FakeWorker("小明"))
        assert stored(run) is None

    @pytest.mark.parametrize(
        ("nickname", "held_out", "texts", "is_text", "asked"),
        [
            ("小明", (), (), False, True),
            (None, (), (), False, False),
            (None, ("row",), (), False, True),
            (None, (), ("cloze",), False, True),
            (None, (), ("cloze",), True, True),
            (None, ("row",), (), True, False),
            ("小明", (), (), True, False),
        ],
    )
    def test_what_can_be_asked(self, run, nickname, held_out, texts, is_text, asked):
        run.nickname, run.facts.dataset.is_text = nickname, is_text
        rows = [{"conversation": [{"input": "几点", "output": "九点"}]} for _ in held_out]
        cloze = [("cloze", {"language": "", "question": "a", "text": "a", "reference": "b"}) for _ in texts]
        sides = [self.checkpoint(run, 1)]
        if asked:
            kinds = {
                q.kind
                for q in score_sides(run, FakeWorker(nickname), sides, held_out=rows, texts=cloze)["tuned"].questions
            }
            assert ("identity" in kinds, "held_out" in kinds, "cloze" in kinds) == (
                bool(nickname),
                bool(rows),
                bool(cloze),
            )
        else:
            with pytest.raises(BadInput):
                score_sides(run, FakeWorker(nickname), sides, held_out=rows, texts=cloze)

    def test_how_much_is_done(self, run):
        """A share for each step, and evenly within one."""
        told, asking = [], None

        class Slow(FakeWorker):
            def ask(self, asks, sampling=None, on_answer=None):
                for number in range(len(asks)):
                    on_answer(number + 1)
                return super().ask(asks, sampling)

        asking = module._Asking(Slow("小明"), told.append)
        questions = [("general", {"question": str(number)}) for number in range(2)]
        asking.ask(["base"], questions, 8, upto=0.2)
        asking.ask(["base", "tuned"], questions, 8, upto=0.6)
        assert told == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
        assert asking.ask(["base"], [], 8, upto=0.7) == {"base": []}
        assert (asking.done, len(told)) == (0.7, 6)
        told.clear()
        worker = Slow("小明", facts=KNOWN)
        sides = [self.checkpoint(run, 1)]
        score_sides(
            run,
            worker,
            sides,
            on_done=told.append,
            texts=[("cloze", {"language": "", "question": "a", "text": "a", "reference": "b"})],
        )
        assert told == sorted(told)
        assert told[0] > 0
        assert told[-1] == 1.0
        # The first facts tell which language it speaks, the rest are asked after that; then all else.
        ends = [0.1, 0.4, 0.75, 0.88, 0.98]
        assert all(any(abs(share - end) < 1e-9 for share in told) for end in ends)
        assert max(b - a for a, b in zip([0, *told], told, strict=False)) < 0.06

    @pytest.mark.parametrize(("right", "speaks"), [(0, False), (3, False), (4, True), (16, True)])
    def test_a_language_is_spoken_from_a_quarter_of_the_first_facts_on(self, run, right, speaks):
        first = [question["question"] for _, question in fact_questions("en", "full")[:PROBES]]
        worker = FakeWorker("小明", facts={question: KNOWN[question] for question in first[:right]})
        scores = score_sides(run, worker, [self.checkpoint(run, 1)])["tuned"]
        assert {q.language for q in scores.questions if q.kind == "fact"} == ({"en"} if speaks else set())
        general = {q.language for q in scores.questions if q.kind == "general"}
        assert general == ({"en"} if speaks else {"zh", "en"})
        assert scores.facts["base_right"] == (right if speaks else 0)

    def test_both_languages_each_with_its_own_answers(self, run):
        every = {fact.question: (fact.accept[0], None) for fact in facts()}
        worker = FakeWorker("小明", facts=every)
        scores = score_sides(run, worker, [self.checkpoint(run, 1)])["tuned"]
        assert scores.facts["base_right"] == len(every) == scores.facts["kept"] * len(every)
        told = {q.question: (q.base, q.tuned) for q in scores.questions if q.kind == "fact"}
        assert told == {question: (answer, answer) for question, (answer, _) in every.items()}

    def test_each_side_has_its_own_answers(self, run):
        """Of several sides, in one conversation with the worker, none gets another's."""

        class Telling(FakeWorker):
            def _answer(self, ask):
                said = super()._answer(ask)
                return (
                    said
                    if ask.side == "base" or ask.text is None and ask.turns[0][0] in KNOWN
                    else f"{ask.side} {ask.turns and ask.turns[0][0]} {ask.text}"
                )

            def weigh(self, asks, answers):
                return [
                    {
                        "tokens": len(ids),
                        "agreed": asks.index(ask),
                        "logprob": -float(len(ask.turns[0][0]) + len(ask.side)),
                    }
                    for ask, ids in zip(asks, answers, strict=True)
                ]

            def read(self, asks):
                return [{"tokens": 10, "agreed": 0, "logprob": -float(len(a.text) * (1 + len(a.side)))} for a in asks]

        sides = [Side(key="left", checkpoint="iter_1"), Side(key="on the right", checkpoint="iter_2")]
        texts = [
            ("reading", {"language": "", "question": "abc", "text": "abc"}),
            ("cloze", {"language": "", "question": "x", "text": "x", "reference": "y"}),
            ("reading", {"language": "", "question": "abcde", "text": "abcde"}),
        ]
        worker = Telling("小明", facts=KNOWN)
        found = score_sides(run, worker, sides, texts=texts)
        assert list(found) == ["left", "on the right"]
        for side in sides:
            asked = found[side.key].questions
            by_kind = {
                kind: [q for q in asked if q.kind == kind] for kind in ("identity", "general", "cloze", "reading")
            }
            assert all(q.tuned == f"{side.key} {q.question} None" for q in by_kind["identity"] + by_kind["general"])
            assert [q.tuned for q in by_kind["cloze"]] == [f"{side.key} () x"]
            assert [(q.base_nats, q.tuned_nats) for q in by_kind["reading"]] == [
                (5 * len(text), len(text) * (1 + len(side.key))) for text in ("abc", "abcde")
            ]
            # Both sides weigh the base's own answer to the same question.
            assert by_kind["general"]
            assert all(q.nats == len(side.key) - len("base") for q in by_kind["general"])
            assert all(q.tokens == 20 for q in by_kind["general"])
            assert all((q.tokens, q.nats) == (0, 0) for q in by_kind["identity"])

    def test_an_answer_without_tokens_is_not_weighed(self, run):
        class Silent(FakeWorker):
            def ask(self, asks, sampling=None, on_answer=None):
                lines = super().ask(asks, sampling, on_answer)
                if general := [
                    at for at, ask in enumerate(asks) if ask.side == "base" and ask.turns[0][0] in self.known
                ]:
                    lines[general[0]] = {**lines[general[0]], "ids": []}
                return lines

        scores = score_sides(run, Silent("小明", facts=KNOWN), [self.checkpoint(run, 1)])["tuned"]
        tokens = [q.tokens for q in scores.questions if q.kind == "general"]
        assert tokens == [0, *[20] * (len(tokens) - 1)]

    def test_how_long_an_answer_may_be(self, run):
        most = {}

        class Noting(FakeWorker):
            def ask(self, asks, sampling=None, on_answer=None):
                for ask in asks:
                    most.setdefault(
                        "text" if ask.text else "fact" if ask.turns[0][0] in {f.question for f in facts()} else "other",
                        set(),
                    ).add(sampling.max_new_tokens)
                return super().ask(asks, sampling, on_answer)

        texts = [("cloze", {"language": "", "question": "x", "text": "x", "reference": "y"})]
        score_sides(run, Noting("小明", facts=KNOWN), [self.checkpoint(run, 1)], texts=texts)
        assert most == {"fact": {20}, "other": {48}, "text": {16}}

    def test_what_is_kept_of_a_checkpoint(self, run):
        scores = score_sides(run, FakeWorker("小明"), [self.checkpoint(run, 4)])["tuned"]
        kept = json.loads((run.path / "scores" / "iter_4.json").read_text(encoding="utf-8"))
        stamp = f"{(run.path / 'iter_4.pth').stat().st_mtime_ns}:1"
        assert (kept["checkpoint"], kept["stamp"], kept["extent"]) == ("iter_4", stamp, "full")
        assert kept["identity"] == scores.to_json()["identity"]
        assert of_checkpoints(run) == {"iter_4": scores}
        assert stored(run) == scores
        whole = json.loads((run.path / "scores.json").read_text(encoding="utf-8"))
        assert (whole["adapter"], whole["checkpoint"]) == ("a", "iter_4")

    @pytest.mark.parametrize(
        ("first", "second", "other_file", "kept"),
        [
            ("full", "quick", False, "full"),
            ("quick", "full", False, "full"),
            ("quick", "quick", False, "second"),
            ("full", "full", False, "second"),
            ("full", "quick", True, "quick"),
            # Of earlier times, when there were only full ones.
            (None, "quick", False, "full"),
        ],
    )
    def test_a_quick_score_replaces_no_full_one_of_the_same_file(self, run, first, second, other_file, kept):
        side = self.checkpoint(run, 4)
        score_sides(run, FakeWorker("小明"), [side], first or "full")
        place = run.path / "scores" / "iter_4.json"
        if first is None:
            content = json.loads(place.read_text(encoding="utf-8"))
            del content["extent"]
            write_json(place, content)
        if other_file:
            self.checkpoint(run, 4, "other")
        later = score_sides(run, FakeWorker("小明", learned=False), [side], second)["tuned"]
        now = json.loads(place.read_text(encoding="utf-8"))
        assert now.get("extent", "full") == (second if kept == "second" else kept)
        replaced = kept in ("second", second)
        assert (of_checkpoints(run)["iter_4"] == later) is replaced
        assert (
            json.loads((run.path / "scores.json").read_text(encoding="utf-8"))["identity"]["tuned"] == 0.0
        ) is replaced

    def test_a_checkpoint_that_was_written_anew_has_no_score(self, run):
        score_sides(run, FakeWorker("小明"), [self.checkpoint(run, 4)])
        self.checkpoint(run, 4, "of other weights")
        assert of_checkpoints(run) == {}
        assert stored(run) is None

    def test_only_what_an_export_would_take_is_the_score_of_the_run(self, run):
        first, last = self.checkpoint(run, 4), self.checkpoint(run, 8)
        early = score_sides(run, FakeWorker("小明", learned=False), [replace(first, key="iter_4")])["iter_4"]
        assert stored(run) is None
        assert not (run.path / "scores.json").exists()
        late = score_sides(run, FakeWorker("小明"), [last])["tuned"]
        assert stored(run) == late
        assert list(of_checkpoints(run)) == ["iter_4", "iter_8"]
        assert of_checkpoints(run)["iter_4"] == early

    def test_an_export_whose_checkpoint_is_gone(self, run):
        """Its score is still what it was, as long as it is the same export."""
        scores = score_sides(run, FakeWorker("小明"), [self.checkpoint(run, 4)])["tuned"]
        run.there = []
        assert stored(run) == scores
        assert of_checkpoints(run) == {}
        # Nor is one scored again that has no file to know it by.
        later = score_sides(run, FakeWorker("小明", learned=False), [run.side])["tuned"]
        assert stored(run) == later
        assert json.loads((run.path / "scores" / "iter_4.json").read_text(encoding="utf-8"))["identity"]["tuned"] == 1.0
        run.adapter_stamp = "b"
        assert stored(run) is None
        run.adapter_stamp, run.side = "a", Side(key="tuned", checkpoint="iter_8")
        assert stored(run) is None
        (run.path / "scores.json").unlink()
        assert stored(run) is None

    def test_an_export_of_nobody_knows_which_checkpoint(self, run):
        run.side = Side(key="tuned")
        scores = score_sides(run, FakeWorker("小明"), [run.side])["tuned"]
        assert stored(run) == scores
        assert not (run.path / "scores").exists()

    def test_the_run_s_own_side_is_scored(self, run):
        self.checkpoint(run, 4)
        told = []
        rows = [{"conversation": [{"input": "几点", "output": "九点"}]}]
        texts = [("cloze", {"language": "", "question": "x", "text": "x", "reference": "y"})]
        scores = score(run, FakeWorker("小明", facts=KNOWN), "quick", told.append, rows, texts)
        assert scores == stored(run)
        assert scores.counts["held_out"] == scores.counts["cloze"] == 1
        assert 0 < scores.counts["facts"] < len(KNOWN)
        assert told[-1] == 1.0

    @pytest.mark.parametrize("step", [1, 2, 3, 4, "read"])
    def test_a_worker_that_answers_too_few_gives_no_score(self, run, step):
        """A line that is missing would give each later question another one's answer."""

        class Short(FakeWorker):
            steps = 0

            def ask(self, asks, sampling=None, on_answer=None):
                lines = super().ask(asks, sampling, on_answer)
                self.steps += 1
                return lines[:-1] if self.steps - 1 == step else lines

            def read(self, asks):
                lines = super().read(asks)
                return lines[:-1] if step == "read" else lines

        asked = {"language": "", "question": "x", "text": "x", "reference": "y"}
        texts = [("cloze", asked), ("cloze", asked), ("reading", asked), ("reading", asked)]
        with pytest.raises(ValueError, match="shorter"):
            score_sides(run, Short("小明", facts=KNOWN), [self.checkpoint(run, 4)], texts=texts)

    def test_one_number_of_all(self):
        """What is said unasked, or leaks into a fact, weighs twice: it is worse than what is not said when asked."""
        toy = summary([answered("identity", tuned_identity=True), *[answered("general")] * 4])
        parrots = summary([*toy.questions[:-1], answered("general", tuned_identity=True)])
        assert toy.worth == 2.0
        assert parrots.worth == 2.0 - 2 * 0.25
        known = of_a_real_model(10, 20, 10)
        assert known.worth == 3.0
        assert of_a_real_model(9, 20, 10).worth == pytest.approx(2.9)
        assert of_a_real_model(10, 20, 10, parrots=3).worth == pytest.approx(3.0 - 2 * 0.1)
        leaking = [replace(q, leaked=q.kind == "fact" and n % 2 == 0) for n, q in enumerate(known.questions)]
        assert summary(leaking).worth == pytest.approx(3.0 - 2 * 0.5)

    def test_of_equal_checkpoints_the_earliest(self):
        same = of_a_real_model(10, 20, 9)
        assert best({"iter_100": same, "iter_20": same, "iter_3": same}) == "iter_3"
        assert best({"iter_3": of_a_real_model(5, 20, 9), "iter_20": same}) == "iter_20"
        assert best({}) is None
