"""Report section about the GGUF files: their size and time, and what llama.cpp answered with them."""

from core.chat import gguf_score
from core.export.export import asked
from core.export.gguf import conversion
from core.export.gguf.conversion import Made
from core.export.gguf.modelfile import first_question, name_of, ollama_lines
from core.export.gguf.verdict import verdict
from core.ground.figures import share, size
from core.report.markup import table
from core.report.material import Draft
from core.report.results import named


def gguf(draft: Draft) -> list[str]:
    """The files with size and time, whether each answers like the merged model, and how to open it."""
    files, say = conversion.made(draft.run), draft.say
    if not files:
        return []
    head = [say("类型", "type"), say("文件", "file"), say("大小", "size"), say("用时", "time"), "llama.cpp"]
    run = draft.run
    lines = ollama_lines(name_of(run.nickname, run.id), files[-1].kind, first_question(run.questions))
    parts = [
        say(
            "合并后的模型写成了 GGUF 文件：Ollama、LM Studio、llama.cpp 都能打开，不需要 Python，也不需要显卡。",
            "The merged model as GGUF files, which Ollama, LM Studio and llama.cpp open without Python or a GPU.",
        ),
        table(head, [_row(draft, made) for made in files]),
        _answers(draft, [made for made in files if made.verified]),
        _scores(draft, files),
        say("在自己的电脑上，装好 Ollama 之后：", "On your computer, with Ollama installed:"),
        draft.code("\n".join(lines), "bash"),
    ]
    return [part for part in parts if part]


def _row(draft: Draft, made: Made) -> list[str]:
    """Return the row of a file; the last cell interprets llama.cpp's answers, or says that it was not asked."""
    said = verdict(made.verified).in_(draft.language) if made.verified else draft.say("没有核对", "not checked")
    return [made.kind, draft.cell(made.path.name), size(made.bytes), draft.duration(made.seconds), draft.cell(said)]


def _scores(draft: Draft, files: list[Made]) -> str:
    """The cost of quantization: the run's own scores next to each file's, on the same questions."""
    found = {made.kind: both for made in files if (both := gguf_score.scores(draft.run, made))}
    if not found:
        return ""
    own = next(iter(found.values()))[0]
    names = named(draft)
    rows = [
        [names[rate], share(own.both(rate)[1]), *(share(of_file.both(rate)[1]) for _, of_file in found.values())]
        for rate in own.rates
    ]
    return table([draft.say("指标", "score"), draft.say("合并后的模型", "merged model"), *found], rows)


def _answers(draft: Draft, files: list[Made]) -> str:
    """Each question with the answers of the merged model and each file; empty if llama.cpp was not asked."""
    if not files:
        return ""
    told = [made.verified["answers"] for made in files]
    rows = [
        [draft.cell(question), draft.cell(answers[0]["merged"]), *(draft.cell(answer["gguf"]) for answer in answers)]
        for question, *answers in zip(asked(draft.run), *told, strict=False)
    ]
    head = [draft.say("问题", "question"), draft.say("合并后的模型", "merged model"), *(made.kind for made in files)]
    return table(head, rows)
