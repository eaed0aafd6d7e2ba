"""Texts for continued pre-training (增量预训练): documents, cleaned and cut into overlapping pieces, one row each.

A row has the form that XTuner's own `pretrain_map_fn` gives a text: empty input, the text as output, and an end token
only where a document ends.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from core.data import apart, storage
from core.data.checks import Finding
from core.data.files.documents import Document, documents
from core.data.files.texts import is_spoken
from core.data.likeness import Likeness
from core.data.looks import CONTROL
from core.data.row import Row
from core.data.sentences import chunks
from core.data.storage import Dataset
from core.ground.errors import BadInput
from core.ground.files import sha256, write_json
from core.ground.text import Text
from core.ground.workspace import Workspace

_NUMBER = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(r"[\s\-–—·.第页Pagepage/of\d]*\d+[\s\-–—·.第页/of\d]*")
_HAN = r"\u3000-\u303f\u4e00-\u9fff\uff00-\uffef"
_WRAPPED = re.compile(rf"(?<=[{_HAN}])\n(?=[{_HAN}])")
_WRAPPED_WORDS = re.compile(r"(?<=[A-Za-z0-9,;])\n(?=[a-z(])")
_HYPHENED = re.compile(r"(?<=[a-z])-\n(?=[a-z])")
MOST_PIECES = 200_000
# Share of the pieces held out: default and maximum.
HELD_OUT, MOST_HELD_OUT = 0.05, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How texts are cut: pieces of at most `chunk` characters, `overlap` of which repeat the previous piece.

    About a share `held_out` of the pieces is kept out of training, for the scores (`apart`).
    """

    chunk: int = 1000
    overlap: int = 100
    deduplicate: bool = True
    boilerplate: bool = True
    held_out: float = HELD_OUT

    def __post_init__(self) -> None:
        """Raise BadInput for invalid lengths or shares."""
        if not 50 <= self.chunk <= 100_000 or not 0 <= self.overlap <= self.chunk // 2:
            raise BadInput(
                f"分块长度 {self.chunk}、重叠 {self.overlap} 不可用：长度 50 到 100000，重叠不超过一半",
                f"invalid chunk size {self.chunk} or overlap {self.overlap}: use 50 to 100000 characters, and an overlap of at most half of that",
            )
        if not 0 <= self.held_out <= MOST_HELD_OUT:
            raise BadInput(
                f"留出的比例 {self.held_out} 不可用：0 到 {MOST_HELD_OUT}",
                f"a share of {self.held_out} cannot be held out: take 0 to {MOST_HELD_OUT}",
            )


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's own answers to general questions, as rows, so that training on a book keeps its ability to chat."""

    model: str
    rows: Sequence[Row]

    @classmethod
    def of(cls, made: Mapping[str, Any]) -> "Answers | None":
        """Return the answers that a corpus was created with."""
        return cls(made["replay_model"], made["replay"]) if made.get("replay") else None


@dataclass(slots=True)
class Told:
    """The outcome for the documents: how many were read, which were not and why, and what was omitted.

    `spoken` are documents that look like dialogues or chat logs, which are better imported as such.
    """

    documents: int = 0
    skipped: list[dict[str, Any]] = field(default_factory=list)
    characters: int = 0
    pieces: int = 0
    duplicates: int = 0
    boilerplate_lines: int = 0
    held_out: int = 0
    spoken: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        return {**values, "skipped": [{**left, "reason": str(left["reason"])} for left in self.skipped]}


def pieces(
    files: Sequence[Path], wanted: Wanted, told: Told, tell: Callable[[float, float], None] | None = None
) -> Iterator[Row]:
    """Yield the rows of documents and fill in `told`. Raises BadInput for a file that cannot be read at all."""
    likeness, seen = Likeness(most=MOST_PIECES, whole=True), set()
    for number, file in enumerate(files):
        read = []
        for document in documents(file):
            if _noted(document, told):
                read.append(document)
                if is_spoken("\n".join(document.pages)):
                    told.spoken.append(document.name)
            if tell:
                # Reading a file counts as half of the work, cutting it as the other half.
                tell((number + document.done / 2) / len(files), 0.0)
        # Lines in most documents of one file belong to a website or publisher, not to the text.
        shared = _repeated_lines(["\n".join(d.pages) for d in read]) if wanted.boilerplate else set()
        for before, document in enumerate(read):
            text = cleaned(document, wanted, shared, told)
            told.characters += len(text)
            cut = chunks(text, wanted.chunk, wanted.overlap)
            for place, piece in enumerate(cut):
                if tell:
                    share = (before + (place + 1) / len(cut)) / len(read)
                    tell((number + (1 + share) / 2) / len(files), 0.0)
                if wanted.deduplicate and (piece in seen or likeness.add(told.pieces + 1, piece) is not None):
                    told.duplicates += 1
                    continue
                seen.add(piece)
                told.pieces += 1
                if told.pieces > MOST_PIECES:
                    raise BadInput(
                        f"超过 {MOST_PIECES} 段：请增大分块长度或分开导入",
                        f"more than {MOST_PIECES} chunks: use longer chunks, or import in parts",
                    )
                last = place == len(cut) - 1
                yield {"conversation": [{"input": "", "output": piece, "need_eos_token": last}]}


def make(
    workspace: Workspace,
    files: Sequence[Path],
    wanted: Wanted | None = None,
    name: str | None = None,
    tell: Callable[[float, float], None] | None = None,
    *,
    keep: bool = False,
    answers: Answers | None = None,
) -> tuple[Dataset, Told, list[Finding]]:
    """Create a dataset from documents, followed by a model's own `answers`. With `keep`, the files are moved into it.

    Raises BadInput; nothing is written in that case.
    """
    if not files:
        raise BadInput("没有文件：请至少选一个", "no file given: choose at least one")
    wanted, told = wanted or Wanted(), Told()
    if name is not None:
        workspace.dataset(name)
    with storage.making(workspace, name, "corpus") as new:
        held_out = []
        for row, alone in apart.parted(pieces(files, wanted, told, tell), wanted.held_out, wanted.overlap):
            if alone is None:
                new.add(row)
            else:
                held_out.append(alone)
        for row in answers.rows if answers else ():
            new.add(row)
        told.held_out = len(held_out)
        if held_out:
            write_json(new.directory / apart.FILE, held_out)
        if told.pieces == 0:
            first = told.skipped[0] if told.skipped else None
            raise BadInput(
                f"{files[0].name} 里没有可用的文字" + (f"：{first['name']} {first['reason'].zh}" if first else ""),
                f"{files[0].name} holds no text to use" + (f": {first['name']} {first['reason'].en}" if first else ""),
            )
        hashes = [sha256(file) for file in files]
        kept = [f"{number}-{storage.short_name(file.name)}" for number, file in enumerate(files)]
        sources = [f"source/{name}" for name in kept] if keep else [str(file.absolute()) for file in files]
        made = {
            "kind": "corpus",
            "format": "text",
            "files": [file.name for file in files],
            "sources": sources,
            "source_sha256": hashes,
            "wanted": asdict(wanted),
            "held_out": len(held_out),
            **({"replay_model": answers.model, "replay": answers.rows} if answers else {}),
        }
        problems = [*new.finish(made), *_of_spoken(told.spoken)]
        skipped = [
            {"row": number, "text": left["name"], "reason": asdict(left["reason"])}
            for number, left in enumerate(told.skipped, 1)
        ]
        write_json(
            new.directory / "report.json",
            {
                "format": "text",
                "encoding": None,
                "skipped": skipped,
                "skipped_count": len(skipped),
                "problems": [asdict(problem) for problem in problems],
                "told": {**asdict(told), "skipped": []},
            },
        )
        if keep:
            for file, name_in_it in zip(files, kept, strict=True):
                new.take_in(file, name_in_it)
    return storage.find(workspace, new.made["name"]), told, problems


def _of_spoken(names: list[str]) -> list[Finding]:
    """Warn about documents that look like dialogues but were imported as texts."""
    if not names:
        return []
    shown = [name[:60] for name in names[:5]]
    message = Text(
        f"看起来是问答或聊天记录，当作文字了：{'、'.join(shown)}（共 {len(names)} 个文件）",
        f"looks like a dialogue or chat log and was imported as plain text: {', '.join(shown)} ({len(names)} files)",
    )
    hint = Text(
        "要教模型一问一答，就用“导入文件”（datasets import）",
        "to teach the model to take turns, import it as a dialogue (datasets import)",
    )
    return [Finding(kind="spoken", severity="warning", where="rows", message=message, hint=hint)]


def sources_of(dataset: Dataset) -> list[Path]:
    """Return the files that a corpus was created from. Raises BadInput if one is missing or has changed."""
    found = []
    for source, digest in zip(dataset.made["sources"], dataset.made["source_sha256"], strict=True):
        path = Path(source) if Path(source).is_absolute() else dataset.path / source
        if not path.is_file() or sha256(path) != digest:
            raise BadInput(
                f"原文件 {path} 不在了或内容变了，无法重做",
                f"the file {path} was deleted or has changed: the dataset cannot be recreated",
            )
        found.append(path)
    return found


def cleaned(document: Document, wanted: Wanted, shared: set[str], told: Told) -> str:
    """Return a document's text: pages and wrapped lines joined, no control characters, page numbers, running heads."""
    pages = [CONTROL.sub("", unicodedata.normalize("NFC", page)) for page in document.pages]
    if wanted.boilerplate:
        # Running heads and feet are at the edges of a page.
        edges = ["\n".join(_edges(page)) for page in pages]
        repeated = shared | _repeated_lines(edges)
        kept = []
        for page in pages:
            lines = page.split("\n")
            good = [
                line
                for line in lines
                if not line.strip() or (_shape(line) not in repeated and not _is_page_number(line, len(pages)))
            ]
            told.boilerplate_lines += len(lines) - len(good)
            kept.append("\n".join(good))
        pages = kept
    text = "\n".join(page.strip("\n") for page in pages)
    if len(pages) > 1:
        # Lines of a page are wrapped at the width of the paper.
        text = _WRAPPED_WORDS.sub(" ", _HYPHENED.sub("", _WRAPPED.sub("", text)))
    text = re.sub(r"[ \t\u00a0]+", " ", text)
    return re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n\n", re.sub(r" *\n *", "\n", text)).strip()


def _noted(document: Document, told: Told) -> bool:
    if document.reason is None:
        told.documents += 1
        return True
    told.skipped.append({"name": document.name, "reason": document.reason})
    return False


def _repeated_lines(texts: list[str]) -> set[str]:
    """Return the lines that occur in at least half of the texts, ignoring numbers; none for fewer than 4 texts."""
    if len(texts) < 4:
        return set()
    counts = Counter(shape for text in texts for shape in {_shape(line) for line in text.split("\n") if line.strip()})
    return {shape for shape, count in counts.items() if count >= len(texts) / 2 and len(shape) < 200}


def _edges(page: str) -> list[str]:
    lines = [line for line in page.split("\n") if line.strip()]
    return lines[:2] + lines[2:][-2:]


def _shape(line: str) -> str:
    return _NUMBER.sub("#", line.strip())


def _is_page_number(line: str, pages: int) -> bool:
    return pages > 1 and len(line.strip()) < 20 and _PAGE_NUMBER.fullmatch(line) is not None
