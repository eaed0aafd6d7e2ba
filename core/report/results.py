"""Report sections about the results: losses, answers, scores, merged model, files, time."""

import re

from core.chat.answered import CLOZE, asked_as
from core.chat.diagnosis import diagnose
from core.chat.rates import Scores
from core.chat.score import stored
from core.export.gguf import conversion
from core.ground.figures import share, size
from core.ground.files import read_json
from core.jobs.job import Status
from core.report.markup import table
from core.report.material import Draft

_PICTURE = re.compile(r"!\[")
_LINK_TO_A_FILE = re.compile(r"\[([^\]]*)\]\((?!https?://|mailto:)[^)]*\)")
_NAMED_FILE = re.compile(r"^ {0,3}\[[^\]]+\]:[ \t]*(?!<?https?://|<?mailto:)\S.*$\n?", re.M)
# Text in a code block or between backticks is not a link.
_CODE = re.compile(r"(^ {0,3}(```|~~~).*?(?:^ {0,3}\2[ \t]*$|\Z)|`[^`\n]+`)", re.M | re.S)
STATUS = {
    Status.FINISHED: ("完成", "finished"),
    Status.KILLED: ("已停止", "stopped"),
    Status.FAILED: ("失败", "failed"),
    Status.CRASHED: ("意外中断", "crashed"),
    Status.RUNNING: ("进行中", "running"),
    Status.PENDING: ("排队中", "queued"),
}


def training(draft: Draft) -> list[str]:
    """The status of the run; its charts follow as images."""
    say, state = draft.say, draft.state
    first = next((point["loss"] for point in draft.points if point["loss"] is not None), None)
    rows = [
        [say("状态", "status"), f"{say(*STATUS[state.status])} ({state.status})"],
        [say("迭代", "iterations"), f"{state.iter} / {state.max_iters or '-'}"],
        [say("用时", "time"), draft.duration(state.seconds)],
        [say("损失（开始 → 最后）", "loss (first → last)"), f"{_number(first)} → {_number(state.loss)}"],
    ]
    parts = [table([say("项目", "item"), say("值", "value")], rows)]
    if state.reason and state.status is not Status.FINISHED:
        parts.append(f"> {draft.cell(state.reason.in_(draft.language))}")
    return parts


def timeline(draft: Draft) -> list[str]:
    """The model's answers before, during and after training, and when it first knew the name."""
    found, nickname = draft.run.timeline(), draft.run.nickname
    if not found:
        return []
    rows = [[str(at.iter), *(draft.cell(answer) for answer in at.answers)] for at in found]
    parts = [table([draft.say("迭代", "iteration"), *map(draft.cell, draft.run.questions)], rows)]
    knew = next((at.iter for at in found if nickname and any(nickname in answer for answer in at.answers)), None)
    if knew:
        parts.append(
            draft.say(
                f"第 {knew} 次迭代起，回答里第一次出现了 {draft.cell(nickname)}。",
                f"From iteration {knew} on, the answers contain {draft.cell(nickname)}.",
            )
        )
    return parts


def comparison(draft: Draft) -> list[str]:
    """The same questions, answered before and after."""
    told = read_json(draft.run.path / "demo.json") or {}
    pairs = zip(told.get("before", []), told.get("after", []), strict=False)
    rows = [[draft.cell(a["prompt"]), draft.cell(a["answer"]), draft.cell(b["answer"])] for a, b in pairs]
    scores = stored(draft.run)
    if scores:
        asked = [question for question in scores.questions if question.kind == "identity"][:8]
        asked += [question for question in scores.questions if question.kind == "cloze"][:8]
        asked += [question for question in scores.questions if question.kind not in ("identity", *CLOZE, "reading")][:6]
        seen = {row[0] for row in rows}
        rows += [
            [draft.cell(asked_as(q)), draft.cell(q.base), draft.cell(q.tuned)]
            for q in asked
            if draft.cell(asked_as(q)) not in seen
        ]
    if not rows:
        found = draft.run.timeline()
        if len(found) >= 2:
            answers = zip(draft.run.questions, found[0].answers, found[-1].answers, strict=False)
            rows = [[draft.cell(q), draft.cell(before), draft.cell(after)] for q, before, after in answers]
    if not rows:
        return []
    return [table([draft.say("问题", "question"), draft.say("微调前", "before"), draft.say("微调后", "after")], rows)]


def scores(draft: Draft) -> list[str]:
    """The scores and their interpretation."""
    found, say = stored(draft.run), draft.say
    if found is None:
        return []
    names = named(draft)
    rows = [[names[rate], *map(share, found.both(rate)), _between(found, rate)] for rate in found.rates]
    if read := found.perplexity:
        span = f"{read.interval[0]:.1f} – {read.interval[1]:.1f}"
        rows.append([names["perplexity"], f"{read.base:.1f}", f"{read.tuned:.1f}", span])
    diagnosis = diagnose(found, draft.run)
    words = f"**{diagnosis.words.in_(draft.language)}**"
    if diagnosis.advice:
        advice = diagnosis.advice.in_(draft.language)
        words += say(f"。建议：{advice}。", f". Recommendation: {advice}.")
    return [
        table(
            [say("指标", "score"), say("微调前", "before"), say("微调后", "after"), say("95% 区间", "95% interval")],
            rows,
        ),
        words,
        _how_it_was_measured(draft, found),
    ]


def _how_it_was_measured(draft: Draft, found: Scores) -> str:
    """Explain each of these scores in a sentence."""
    count = len(found.questions)
    if found.counts["cloze"]:
        return _how_a_book_was_measured(draft, found)
    words = draft.say(
        f"共 {count} 个没有训练过的问题，贪心解码。身份：回答里有昵称和“小助手”；答非所问：没有问身份却报出身份。",
        f"{count} held-out questions, greedy decoding. Identity: the answer contains the nickname and the role; parroting: the identity is stated unasked. ",
    )
    if not found.knows:
        return words + draft.say(
            "保持：普通问题的回答与微调前一致。", "Retention: a general question is answered as before."
        )
    right, gained = found.facts["base_right"], found.facts["gained"]
    return words + draft.say(
        f"知识：微调前答对的 {right} 个知识题，之后还答对的比例（另有 {gained} 个以前答错、现在答对）；方式：微调前的回答里，微调后的模型也会选的 token 的比例；"
        "泄漏：知识题的回答里混进昵称的一部分。",
        f"Facts: of the {right} factual questions the base model answered correctly, the share still answered correctly ({gained} others are answered correctly only after fine-tuning); style: the share of tokens in the base model's own answers that the fine-tuned model would also choose; leak: factual answers that contain part of the nickname.",
    )


def _how_a_book_was_measured(draft: Draft, found: Scores) -> str:
    """The same for a corpus."""
    apart, pieces = found.counts["cloze_apart"], found.perplexity.pieces if found.perplexity else 0
    words = draft.say(
        f"填空由语料自动生成：给出段落里某个名字或数字前面的文字，续写对才算对；训练过的段落 {found.counts['cloze']} 题，"
        f"留出的段落 {apart} 题；困惑度在 {pieces} 段留出的文字上算。贪心解码。",
        "The cloze questions are made from the corpus: the model gets the text up to a name or number and has to continue "
        f"with it; {found.counts['cloze']} from trained chunks, {apart} from held-out ones; the perplexity is over {pieces} "
        "held-out chunks. Greedy decoding.",
    )
    if not found.knows:
        return words
    right, gained = found.facts["base_right"], found.facts["gained"]
    return f"{words} " + draft.say(
        f"知识：微调前答对的 {right} 个知识题里还答对的比例（另有 {gained} 个新答对）；方式：微调前的回答里，微调后的模型也会选的 token 的比例。",
        f"Facts: of the {right} factual questions the base model answered correctly, the share still answered correctly "
        f"({gained} others are correct only after fine-tuning); style: the share of tokens in the base model's own answers "
        "that the fine-tuned model would also choose.",
    )


def _between(found: Scores, rate: str) -> str:
    low, high = found.intervals[rate]
    return f"{share(low)} – {share(high)}"


def named(draft: Draft) -> dict[str, str]:
    """Return the display name of each score."""
    return {
        "identity": draft.say("身份", "identity"),
        "facts": draft.say("原来答对的知识还答对", "facts kept"),
        "manner": draft.say("原来的说话方式", "style kept"),
        "leak": draft.say("昵称混进知识题", "nickname leaked into factual answers"),
        "retention": draft.say("原有能力保持", "retention"),
        "parrot": draft.say("不问也报身份", "parroting"),
        "cloze": draft.say("训练过的段落，填空", "cloze, trained chunks"),
        "cloze_apart": draft.say("留出的段落，填空", "cloze, held-out chunks"),
        "perplexity": draft.say("留出的段落，困惑度", "perplexity of held-out chunks"),
        "held_out": draft.say("留出的问题答得和数据一样", "held-out questions answered as in the data"),
    }


def export(draft: Draft) -> list[str]:
    """Whether the merged model answers like base and adapter."""
    verdict, say = draft.exported.verified, draft.say
    if not verdict:
        return []
    result = say("一致", "the same") if verdict["ok"] else say("不一致", "different")
    parts = [
        say(
            f"合并后的模型与“基座 + 适配器”的回答：**{result}**；logits 最大差 {verdict['max_abs_logit_diff']:.2e}。",
            f"Answers of the merged model and base + adapter: **{result}**; maximum logit difference "
            f"{verdict['max_abs_logit_diff']:.2e}.",
        )
    ]
    answers = [[draft.cell(answer["adapter"]), draft.cell(answer["merged"])] for answer in verdict.get("answers", [])]
    if answers:
        parts.append(table([say("基座 + 适配器", "base + adapter"), say("合并后的模型", "merged model")], answers))
    return parts


def files(draft: Draft) -> list[str]:
    """The files on disk after each step."""
    run, say, found = draft.run, draft.say, draft.exported
    steps = [(say("训练之后", "after training"), run.work_dir, 3)]
    if draft.dataset:
        steps.insert(0, (say("造数据之后", "after creating the data"), draft.dataset.path, 1))
    if found.adapter:
        steps.append((say("转换之后", "after converting"), run.adapter, 1))
    if found.merged:
        steps.append((say("合并之后", "after merging"), run.merged, 1))
    parts = []
    for step, path, depth in steps:
        if path.is_dir():
            parts += [f"**{step}**", draft.tree(path, depth)]
    return parts


def time(draft: Draft) -> list[str]:
    """The time that each step took."""
    run, say = draft.run, draft.say
    seconds: dict[str, float] = {}
    stages = {stage["name"]: stage["seconds"] for stage in (read_json(run.path / "demo.json") or {}).get("stages", [])}
    for name, words in (("model", say("构建示例模型", "building the demo model")), ("score", say("评分", "scoring"))):
        if stages.get(name, 0) >= 1:
            seconds[words] = stages[name]
    if run.job:
        seconds[say("训练", "training")] = run.seconds
    for step, words in (
        ("convert", say("转换", "convert")),
        ("merge", say("合并", "merge")),
        ("verify", say("校验", "verify")),
    ):
        told = read_json(run.path / "export" / f"{step}.json") or {}
        if "seconds" in told:
            seconds[words] = told["seconds"]
    for made in conversion.made(run):
        seconds[f"GGUF {made.kind}"] = made.seconds + (made.verified or {}).get("seconds", 0.0)
    rows = [[words, draft.duration(taken)] for words, taken in seconds.items()]
    rows.append([f"**{say('合计', 'in all')}**", f"**{draft.duration(sum(seconds.values()))}**"])
    weights = sum(made["bytes"] for made in (draft.exported.adapter, draft.exported.merged) if made)
    parts = [table([say("步骤", "step"), say("用时", "time")], rows)]
    if weights:
        parts.append(
            say(
                f"适配器与合并后的模型共占 {size(weights)}。", f"The adapter and the merged model take {size(weights)}."
            )
        )
    return parts


def notes(draft: Draft) -> list[str]:
    """The author's notes as Markdown; links to files and images outside of the report become plain text."""
    text = _without_files(draft.mask(draft.outline.notes)).strip()
    return [text] if text else []


def _without_files(text: str) -> str:
    """Remove links to files and images, which are not part of the report; code is left unchanged."""
    found, end = [], 0
    for code in _CODE.finditer(text):
        found += [text[end : code.start()], code[0]]
        end = code.end()
    found.append(text[end:])
    for place in range(0, len(found), 2):
        found[place] = _NAMED_FILE.sub("", _LINK_TO_A_FILE.sub(r"\1", _PICTURE.sub("[", found[place])))
    return "".join(found)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
