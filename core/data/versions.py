"""Versions of a dataset: saved edits become the next version; and any dataset can be recreated from its record.

The older version is never changed: a run that used it can always be reproduced.
"""

from pathlib import Path
from typing import Any

from core.data import assistant, corpus, intake, split, storage
from core.data.assistant import Assistant
from core.data.draft import Draft
from core.data.edits import Part
from core.data.files.choices import Choices
from core.data.files.placeholders import Fill
from core.data.files.shapes import Columns
from core.data.intake import Wanted
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.files import read_json, sha256
from core.ground.workspace import Workspace

CHANGES = "changes.json"


def save(workspace: Workspace, draft: Draft, name: str | None = None) -> Dataset:
    """Save the edited rows as a version and clear the draft. Raises BadInput if a row is not trainable."""
    if not draft.edits:
        raise BadInput("没有改动可以保存", "there are no changes to save")
    wrong = draft.problems()
    if wrong:
        number, reason = wrong[0]
        where = f"第 {number} 行" if number > 0 else "新加的行"
        where_en = f"row {number}" if number > 0 else "an added row"
        raise BadInput(
            f"{where}还不能用：{reason.zh}（共 {len(wrong)} 行），改好后再保存",
            f"{where_en} is not usable yet: {reason.en} ({len(wrong)} such rows); fix it, then save",
        )
    if draft.rows == 0:
        raise BadInput("所有的行都删除了：至少留一行", "every row is deleted: keep at least one")
    made = _write(workspace, draft.dataset, draft.edits, name, draft)
    draft.discard()
    return made


def of_edits(workspace: Workspace, parent: Dataset, edits: list[dict[str, Any]], name: str | None) -> Dataset:
    """The version that results from applying `edits` to `parent`."""
    draft = Draft(parent, Path("/nonexistent"), list(edits))
    draft._sort()
    return _write(workspace, parent, edits, name, draft)


def replaced(dataset: Dataset, find: str, put: str, part: Part = "all") -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows of a dataset contain a text, and the edit that replaces it."""
    draft = Draft(dataset, Path("/nonexistent"))
    return draft.matches(find, part) if find else 0, [
        {"edit": "replace", "find": find, "put": put, "part": part, "case": True}
    ]


def remake(workspace: Workspace, dataset: Dataset, name: str | None = None) -> tuple[Dataset, bool]:
    """Recreate a dataset from its record; return the new one and whether its bytes are identical.

    Raises BadInput if its sources are missing or have changed.
    """
    made, stem = dataset.made, name or f"{dataset.name}-again"
    name = name or storage.free_name(workspace.datasets, stem)
    kind = made["kind"]
    if kind == "assistant":
        new = assistant.make(workspace, Assistant.of(dataset), name)
    elif kind == "import":
        wanted = Wanted(
            format=made["format"] if not made.get("columns") else "auto",
            columns=Columns(**made["columns"]) if made.get("columns") else None,
            choices=Choices.of(made.get("choices", {})),
            fill=Fill(**made.get("fill", {})),
        )
        new, _ = intake.import_file(workspace, _source(dataset), name=name, wanted=wanted)
    elif kind == "corpus":
        # Earlier versions held out nothing.
        cut = corpus.Wanted(**{"held_out": 0.0, **made["wanted"]})
        answers = corpus.Answers.of(made)
        new = corpus.make(workspace, corpus.sources_of(dataset), cut, name, answers=answers)[0]
    elif kind == "edit":
        new = of_edits(workspace, _parent(workspace, dataset), read_json(dataset.path / CHANGES) or [], name)
    elif kind == "split":
        parent = _parent(workspace, dataset)
        new = split.part(workspace, parent, made["part"], made["share"], made["seed"], name)
    else:
        raise BadInput(
            f"不知道数据集 {dataset.name} 是怎样生成的", f"there is no record of how {dataset.name} was created"
        )
    return new, new.sha256 == dataset.sha256


def lineage(workspace: Workspace, dataset: Dataset) -> list[Dataset]:
    """Return the versions that led to a dataset, oldest first, itself last; deleted ones are omitted."""
    found = [dataset]
    while (parent := found[0].made.get("of")) and len(found) < 1000:
        try:
            found.insert(0, storage.find(workspace, parent))
        except BadInput:
            break
    return found


def _write(
    workspace: Workspace, parent: Dataset, edits: list[dict[str, Any]], name: str | None, draft: Draft
) -> Dataset:
    root = parent.made.get("root", parent.name)
    version = parent.version + 1
    made = {
        "kind": "edit",
        "of": parent.name,
        "of_sha256": parent.sha256,
        "root": root,
        "version": version,
        "changes": changes(draft),
        **{key: parent.made[key] for key in ("format", "recipe") if key in parent.made},
    }
    if parent.nickname:
        made["nickname"] = _renamed(parent.nickname, edits)
    keys = _turn_keys(parent)
    rows = (_with_keys(row, keys) for _, row in draft.each())
    if name is None:
        name = f"{root}-v{version}"[:64]
        if workspace.dataset(name).exists():
            name = storage.free_name(workspace.datasets, name[:60])
    return storage.store(workspace, name, root, rows, made, files={CHANGES: edits})


def changes(draft: Draft) -> dict[str, int]:
    """Return how many rows were changed, added and deleted, and how many edits apply to all rows."""
    changed = {edit["row"] for edit in draft.edits if edit["edit"] == "set" and edit["row"] > 0}
    return {
        "changed": sum(draft.place_of(number) is not None for number in changed),
        "added": len(draft._added),
        "deleted": len(draft._deleted),
        "all_rows": len(draft._of_all),
    }


def _renamed(nickname: str, edits: list[dict[str, Any]]) -> str:
    """Return the nickname that the edited rows teach, after all replacements in answers."""
    for edit in edits:
        if edit["edit"] == "replace" and edit["part"] in ("all", "output") and edit["find"] in nickname:
            nickname = nickname.replace(edit["find"], edit["put"])
    return nickname


def _turn_keys(parent: Dataset) -> dict[str, bool]:
    """Return the extra keys that each turn of a dataset needs: a turn without them would count as false."""
    first = parent.page(0, 1)[0]["conversation"][0]
    return {key: True for key in ("output_with_loss", "need_eos_token") if key in first}


def _with_keys(row: Any, keys: dict[str, bool]) -> Any:
    return {"conversation": [{**turn, **{k: turn.get(k, v) for k, v in keys.items()}} for turn in row["conversation"]]}


def _parent(workspace: Workspace, dataset: Dataset) -> Dataset:
    parent = storage.find(workspace, dataset.made["of"])
    if parent.sha256 != dataset.made["of_sha256"]:
        raise BadInput(
            f"数据集 {parent.name} 已不是当初的内容，无法重做", f"the dataset {parent.name} has changed since"
        )
    return parent


def _source(dataset: Dataset) -> Path:
    """Return the file that a dataset was imported from, after checking that it has not changed."""
    path = Path(dataset.made["source"])
    path = path if path.is_absolute() else dataset.path / path
    if not path.is_file() or sha256(path) != dataset.made["source_sha256"]:
        raise BadInput(
            f"原文件 {path} 不在了或内容变了，无法重做",
            f"the file {path} was deleted or has changed: the dataset cannot be recreated",
        )
    return path


def told(dataset: Dataset) -> dict[str, Any]:
    """Return how a dataset was created, for people: its record without machine-only facts."""
    return {key: value for key, value in dataset.made.items() if key not in ("replay", "source_sha256")} | {
        "sha256": dataset.sha256
    }
