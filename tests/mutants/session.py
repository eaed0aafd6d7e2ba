"""The mutants of one file and how each one went, in a database of cosmic-ray: what makes it possible to go on.

They stay as long as the code does, comments and docstrings aside. When only the tests change, those that they killed
count as killed, and those that survived are tried again.
"""

import ast
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.mutating import mutate_code
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

from tests.mutants.chosen import CHOSEN, PROJECT, files_of_tests
from tests.mutants.kinds import kinds, left_alone


def digest_of_code(file: str) -> str:
    """Of what a file does and what is changed in it: it stays when comments, docstrings or the lay-out change."""
    tree = ast.parse((PROJECT / file).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0] = ast.Pass()
    changes = (PROJECT / "tests" / "mutants" / "kinds.py").read_text(encoding="utf-8")
    return hashlib.sha256((ast.dump(tree) + changes).encode()).hexdigest()[:16]


def digest_of_tests(file: str) -> str:
    """Of the tests that its mutants have to get past."""
    paths = files_of_tests(file)
    text = "".join((PROJECT / path).read_text(encoding="utf-8") for path in sorted(paths))
    return hashlib.sha256((text + repr(CHOSEN[file])).encode()).hexdigest()[:16]


class Session:
    """All mutants of one file."""

    def __init__(self, directory: Path, file: str, fresh: bool = False) -> None:
        self.file = file
        self.code = (PROJECT / file).read_text(encoding="utf-8")
        self._kinds = kinds()
        self._tests = digest_of_tests(file)
        path = directory / f"{file.replace('/', '.')}.{digest_of_code(file)}.sqlite"
        self._db = WorkDB(path, WorkDB.Mode.create)
        if fresh or not self._db.num_work_items:
            self._db.clear()
            self._db.add_work_items(self._items())

    def _items(self) -> Iterator[WorkItem]:
        tree = parso.parse(self.code)
        spared = left_alone(self.code)
        for name, kind in self._kinds.items():
            places = (place for node in _nodes(tree) for place in kind.mutation_positions(node))
            for occurrence, (start, end) in enumerate(places):
                if any(first <= start and end <= last for first, last in spared) or _no_operator(self.code, start):
                    continue
                try:
                    if name == "core/ExceptionReplacer":
                        mutate_code(self.code, kind, occurrence)
                except AttributeError:
                    # It knows no dotted names.
                    continue
                spec = MutationSpec(self.file, name, occurrence, start, end)
                yield WorkItem.single(uuid.uuid4().hex, spec)

    def __len__(self) -> int:
        return self._db.num_work_items

    def ahead(self) -> list[WorkItem]:
        """Those that are still to be tried, in the order of the lines."""
        done = {
            job for job, result in self._db.results
            if result.is_killed or json.loads(result.output)["tests"] == self._tests
        }  # fmt: skip
        items = [item for item in self._db.work_items if item.job_id not in done]
        return sorted(items, key=lambda item: item.mutations[0].start_pos)

    def mutated(self, item: WorkItem) -> str:
        """The file with this mutant in it."""
        (spec,) = item.mutations
        return mutate_code(self.code, self._kinds[spec.operator_name], spec.occurrence)

    def tell(self, item: WorkItem, code: int | None, seconds: float) -> None:
        """How one went: the exit status of its tests, None where they did not end."""
        outcome = {0: TestOutcome.SURVIVED, None: TestOutcome.INCOMPETENT}.get(code, TestOutcome.KILLED)
        output = json.dumps({"tests": self._tests, "seconds": seconds})
        self._db.set_result(item.job_id, WorkResult(WorkerOutcome.NORMAL, output, outcome))

    def summary(self) -> dict[str, Any]:
        """What is kept of it: counts, seconds, and the survivors by what their lines say."""
        done = self._db.completed_work_items
        outcomes = [result.test_outcome for _, result in done]
        survived = sorted(
            (item for item, result in done if result.test_outcome is TestOutcome.SURVIVED),
            key=lambda item: item.mutations[0].start_pos,
        )
        return {
            "code": digest_of_code(self.file),
            "mutants": len(self),
            "killed": outcomes.count(TestOutcome.KILLED),
            "timed_out": outcomes.count(TestOutcome.INCOMPETENT),
            "seconds": round(sum(json.loads(result.output)["seconds"] for _, result in done)),
            "survived": [changed(self.code, self.mutated(item)) for item in survived],
        }


def changed(code: str, mutated: str) -> dict[str, str]:
    """The lines that a mutant changes, and what they become."""
    before, after = code.splitlines(), mutated.splitlines()
    first = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
    last = next((at for at, (a, b) in enumerate(zip(before[::-1], after[::-1], strict=False)) if a != b), 0)
    lines = (lines[first : max(len(lines) - last, first)] for lines in (before, after))
    line, becomes = (" ".join(line.strip() for line in part) for part in lines)
    # cosmic-ray puts a space before a number.
    return {"line": line, "becomes": re.sub(r"(?<=[\[(])\s(?=-?\d)|(?<=\w=)\s(?=-?\d)", "", becomes)}


def _no_operator(code: str, place: tuple[int, int]) -> bool:
    """Whether a star there is none of a multiplication: `*, keyword`, `*names`."""
    line, column = code.splitlines()[place[0] - 1], place[1]
    return line[column : column + 1] == "*" and line[:column].rstrip()[-1:] in ("", ",", "(", "[")


def _nodes(node: Any) -> Iterator[Any]:
    """As cosmic-ray goes through a file."""
    yield node
    for child in getattr(node, "children", ()):
        yield from _nodes(child)
