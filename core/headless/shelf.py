"""`train timeline`, `train compare`, and managing runs: `train rename`, `delete`, `restore` and `trash`."""

from core.chat.score import identity_share
from core.ground.workspace import Workspace
from core.headless.command import RUN, Answer, Options, Table
from core.headless.training import state_answer
from core.training import run as runs
from core.training import shelf
from core.training.comparison import compare


def train_timeline(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    return {
        "run": run.id,
        "points": [
            {
                "iter": at.iter,
                "answers": [
                    {"question": question, "answer": answer}
                    for question, answer in zip(run.questions, at.answers, strict=False)
                ],
                "identity": identity_share(at.answers, run.nickname),
            }
            for at in run.timeline()
        ],
    }


def train_rename(workspace: Workspace, options: Options) -> Answer:
    run = shelf.rename(runs.find(workspace, options.run), options.name)
    return {"run": run.id, "name": shelf.name_of(run)}


def train_delete(workspace: Workspace, options: Options) -> Answer:
    return _in_trash(shelf.delete(workspace, runs.find(workspace, options.run)))


def train_restore(workspace: Workspace, options: Options) -> Answer:
    run = shelf.restore(workspace, options.run)
    return {**state_answer(run), "name": shelf.name_of(run)}


def train_trash(workspace: Workspace, options: Options) -> Answer:
    found = shelf.empty(workspace) if options.empty else shelf.trash(workspace)
    return {
        "runs": [_in_trash(deleted) for deleted in found],
        "bytes": sum(deleted.bytes for deleted in found),
        "emptied": options.empty,
    }


def train_compare(workspace: Workspace, options: Options) -> Answer:
    chosen = [runs.find(workspace, name) for name in options.runs]
    found = compare(chosen)
    names = [run.id for run in chosen]
    return {
        "runs": found.facts,
        "settings": [
            {"name": name, "values": dict(zip(names, values, strict=True))} for name, values in found.settings.items()
        ],
        "diffs": found.diffs,
    }


def _in_trash(deleted: shelf.Deleted) -> Answer:
    return {
        "run": deleted.id,
        "name": deleted.name,
        "path": str(deleted.path),
        "bytes": deleted.bytes,
        "deleted": deleted.when,
    }


COMMANDS: Table = {
    "train timeline": (train_timeline, [RUN]),
    "train compare": (train_compare, [(("runs",), {"nargs": "+", "help": "run ids"})]),
    "train rename": (train_rename, [RUN, (("name",), {"help": "display name; empty removes it"})]),
    "train delete": (train_delete, [RUN]),
    "train restore": (train_restore, [(("run",), {"help": "a run id in the trash, or latest"})]),
    "train trash": (
        train_trash,
        [(("--empty",), {"action": "store_true", "help": "permanently delete everything in it"})],
    ),
}
