"""What the screenshots show: which config, dataset and conversation, and the words that must be visible.

Something that no longer exists, or was never done, is not captured: its caption would be wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.chat import before_after
from core.config import config as configs
from core.data import dataset as datasets
from core.export.export import exported
from core.export.verdict import verdict
from core.ground.errors import StudioError
from core.ground.text import Language, Text
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.training.run import Run

TITLES = {
    "setup": Text("准备页", "the Setup page"),
    "dataset": Text("数据集页", "the Dataset page"),
    "config": Text("配置页", "the Config page"),
    "train": Text("训练页", "the Train page"),
    "export": Text("导出页", "the Export page"),
    "chat": Text("对话页", "the Chat page"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A page to capture: its query parameters, and the words that must be visible on it."""

    page: str
    query: dict[str, str] = field(default_factory=dict)
    shows: Sequence[str] = ()


def not_taken(page: str, why: Text) -> Text:
    """Return the remark that a screenshot is missing, and why."""
    return Text(f"没有{TITLES[page].zh}的截图：{why.zh}", f"no screenshot of {TITLES[page].en}: {why.en}")


def subjects(workspace: Workspace, run: Run, language: Language) -> tuple[list[Subject], list[Text]]:
    """Return the pages that can be captured for `run`, in the order of the work, and why others cannot.

    Asks the model the course's questions if nobody has yet.
    """
    found: list[Subject] = []
    remarks: list[Text] = []
    for page, look in (
        ("setup", lambda: Subject(page="setup")),
        ("dataset", lambda: _dataset(workspace, run)),
        ("config", lambda: _config(workspace, run)),
        ("train", lambda: Subject(page="train", query={"run": run.id}, shows=_said(run))),
        ("export", lambda: _export(run, language)),
        ("chat", lambda: _chat(workspace, run)),
    ):
        try:
            subject = look()
        except StudioError as error:
            subject = error.text
        if isinstance(subject, Subject):
            found.append(subject)
        else:
            remarks.append(not_taken(page, subject))
    return found, remarks


def _said(run: Run) -> list[str]:
    """Return the model's last answers during training."""
    answers = run.timeline()
    return list(answers[-1].answers[:2]) if answers else []


def _dataset(workspace: Workspace, run: Run) -> Subject | Text:
    facts = run.facts.dataset
    if datasets.find(workspace, facts.name).sha256 != facts.sha256:
        return Text("这次训练用的数据集已经不在了", "the dataset of this run was deleted")
    named = [run.nickname] if run.nickname else []
    return Subject(page="dataset", query={"dataset": facts.name}, shows=[facts.name, *named])


def _config(workspace: Workspace, run: Run) -> Subject | Text:
    config = configs.find(workspace, run.facts.config.name)
    if config.text() != run.config.read_text(encoding="utf-8"):
        return Text("训练之后配置改过了", "the config has changed since this run")
    return Subject(page="config", query={"config": config.name}, shows=[config.name, *_updates(run)])


def _updates(run: Run) -> list[str]:
    """Return the number of updates the run took, which the forecast must match; empty if the run ended differently."""
    told = run.job.progress if run.job else {}
    whole = run.state_at(None).status is Status.FINISHED and not run.facts.early_stop and not told.get("skipped")
    return [f"{told['updates']:,}"] if whole and told.get("updates") else []


def _export(run: Run, language: Language) -> Subject | Text:
    found = exported(run)
    if found.merged is None:
        return Text("模型还没有导出", "the model is not exported yet")
    shows = [verdict(found.verified).in_(language)] if found.verified else []
    return Subject(page="export", query={"run": run.id}, shows=shows)


def _chat(workspace: Workspace, run: Run) -> Subject:
    talk = before_after.asked(workspace, run)
    shows: list[str] = []
    for exchange in talk.exchanges:
        shows += [exchange.question, *(said["answer"] for said in exchange.answers.values())]
    return Subject(page="chat", query={"run": run.id, "conversation": talk.id}, shows=shows)
