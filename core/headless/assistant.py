"""`datasets assistant` and `datasets replay`: data that teach an identity, and the model's own answers used in them."""

import json
import sys

from core import replay, teaching
from core.data import origin as origins
from core.data.assistant import COURSE_N, COURSE_QUESTIONS, Assistant, questions_in
from core.ground.errors import BadInput, WorkFailed
from core.ground.progress import write_progress
from core.ground.workspace import Workspace
from core.headless.command import OUT, Answer, Options, Table
from core.headless.datasets import dataset_answer, telling
from core.models import model as models
from core.models.model import Model


def datasets_assistant(workspace: Workspace, options: Options) -> Answer:
    model = models.find(workspace, options.model) if options.model else origins.model_to_teach(workspace)
    wanted = _chosen(options, model)
    asked = models.usable(workspace, options.replay) if options.replay else None
    if asked is None and replay.by_default(model) and not options.no_replay:
        asked = model
    dataset, why = teaching.make(
        workspace, wanted, asked, options.out, telling("answers"), only=options.replay is not None
    )
    if why:
        print(why, file=sys.stderr)
        write_progress(done=1.0, note="answers", why=str(why))
    answers_of = dataset.made.get("replay_model")
    return {
        **dataset_answer(dataset),
        "teaches": {spoken: wanted.answer(spoken, "introduce") for spoken in wanted.languages},
        "general": {
            "answers_of": answers_of,
            **(_told(workspace, answers_of) if answers_of else {}),
            "why": why and str(why),
        },
    }


def _chosen(options: Options, model: Model | None) -> Assistant:
    """Return the choices given by the options, or those passed by a page."""
    if options.choices:
        try:
            return Assistant.chosen({**json.loads(options.choices), "nickname": options.name})
        except (TypeError, ValueError) as error:
            raise BadInput(f"--choices 不能用：{error}", f"--choices is invalid: {error}") from error
    course = options.recipe == "course"
    language = options.language or ("both" if course else origins.spoken(model))
    # The course's own file is the same for any model; an English one is not that file.
    own = course and language != "en"
    return Assistant(
        nickname=options.name,
        recipe=options.recipe,
        n=options.n,
        assistant_name=options.assistant_name,
        maker=options.maker,
        language=language,
        questions=questions_in(language) if course else COURSE_QUESTIONS,
        **({} if own else origins.origin(model)),
        style=options.style,
        phrasings=options.phrasings or origins.phrasings(model),
        general=options.general,
        repeat=options.repeat,
    )


def _told(workspace: Workspace, model: str) -> Answer:
    """Return the number of a model's answers, how many were shortened, and how many were left out, by reason."""
    kept = replay.stored(workspace, model)
    return {"answers": len(kept.replies), "cut_off": kept.cut_off, "left_out": dict(kept.left_out)} if kept else {}


def datasets_replay(workspace: Workspace, options: Options) -> Answer:
    models.usable(workspace, options.model)
    for name, value in (("--count", options.count), ("--tokens", options.tokens), ("--samples", options.samples)):
        if value is not None and value < 1:
            raise BadInput(f"{name} {value} 要大于 0", f"{name} {value} must be greater than 0")
    if not 0 <= options.temperature <= 2:
        raise BadInput(
            f"--temperature {options.temperature} 不在 0 到 2 之间",
            f"--temperature {options.temperature} is not between 0 and 2",
        )
    way = replay.Way(tokens=options.tokens or 0, temperature=options.temperature, samples=options.samples)
    made = replay.generate(workspace, options.model, options.count, telling("answers"), way)
    if made.why_none:
        raise WorkFailed(made.why_none.zh, made.why_none.en)
    dropped = sum(made.left_out.values())
    return {"model": made.model, "languages": list(made.languages), "dropped": dropped, **_told(workspace, made.model)}


COMMANDS: Table = {
    "datasets assistant": (
        datasets_assistant,
        [
            (("--name",), {"required": True, "help": "your nickname"}),
            (("--recipe",), {"choices": ("course", "balanced"), "default": "balanced"}),
            (("--n",), {"type": int, "default": COURSE_N}),
            (("--assistant-name",), {"default": "", "help": "the assistant's name"}),
            (("--maker",), {"default": "", "help": "the model's developer"}),
            (
                ("--language",),
                {"choices": ("zh", "en", "both"), "help": "default: those the model speaks; course: zh"},
            ),
            (
                ("--model",),
                {"help": "the model to teach, so that answers give the right name and developer; default: the newest"},
            ),
            (("--style",), {"choices": ("course", "formal", "lively"), "default": "course"}),
            (("--phrasings",), {"choices": ("usual", "all"), "help": "phrasings of the identity questions"}),
            (("--general",), {"type": float, "help": "general rows per identity row; default: all"}),
            (
                ("--repeat",),
                {"type": int, "default": 1, "help": "balanced: repetitions of each row"},
            ),
            (
                ("--replay",),
                {"metavar": "MODEL", "help": "use this model's own answers for the general rows; default: --model's"},
            ),
            (("--no-replay",), {"action": "store_true", "help": "use the built-in short answers for the general rows"}),
            (("--choices",), {"metavar": "JSON", "help": "all choices as JSON, as in a dataset's `made`"}),
            OUT,
        ],
    ),
    "datasets replay": (
        datasets_replay,
        [
            (("--model",), {"required": True}),
            (("--count",), {"type": int, "help": "number of questions; default: all"}),
            (("--tokens",), {"type": int, "help": "maximum tokens per answer; default: depends on the machine"}),
            (("--temperature",), {"type": float, "default": 0.0, "help": "0: the most likely answer"}),
            (("--samples",), {"type": int, "default": 1, "help": "answers per question"}),
        ],
    ),
}
