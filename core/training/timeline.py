"""The model's answers before, during and after training, parsed from XTuner's log.

Relies on the lines `Evaluation at iteration N.` that `engine/workers/evaluation` logs before the answers. Reads only
what is new, in pieces, whatever the size of the log.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from core.engine.presets import PromptTemplate

PIECE = 4 << 20
# Anything longer is not an evaluation.
_MOST = 16 * PIECE
_MARK = b"Evaluation at iteration "
_EVALUATION = re.compile(rb"(\d+)\.\r?\n")
_LOG_LINE = re.compile(rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - mmengine - [^\n]*\n", re.MULTILINE)
_SAMPLE = b"Sample output:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers to the evaluation questions after `iter` iterations."""

    iter: int
    answers: tuple[str, ...]


class Timeline:
    """The evaluations of one run, read incrementally."""

    def __init__(self, work_dir: Path, template: PromptTemplate) -> None:
        self._work_dir, self._template = work_dir, template
        self._offsets: dict[Path, int] = {}
        self._found: dict[int, tuple[str, ...]] = {}

    def read(self) -> list[Answers]:
        """Return all evaluations in order, one per iteration (the last one logged)."""
        for log in sorted(self._work_dir.glob("*/*.log")):
            self._offsets[log] = self._read_on(log, self._offsets.get(log, 0))
        return [Answers(iter=at, answers=answers) for at, answers in sorted(self._found.items())]

    def _read_on(self, log: Path, offset: int) -> int:
        """Parse what follows `offset`; return where to continue: an evaluation that may be incomplete is read again."""
        with log.open("rb") as file:
            size = file.seek(0, 2)
            offset, want = offset if offset <= size else 0, PIECE
            while offset < size:
                file.seek(offset)
                piece = file.read(want)
                at_end = offset + len(piece) >= size
                passed = self._take(piece, at_end)
                if at_end:
                    return offset + passed
                # An evaluation longer than the piece is read in full, up to the maximum.
                want = want * 2 if passed == 0 and want < _MOST else PIECE
                offset += passed if passed or want > PIECE else len(piece)
        return offset

    def _take(self, piece: bytes, at_end: bool) -> int:
        """Parse the evaluations in `piece`; return how much of it is consumed."""
        done = looked = 0
        while (mark := piece.find(_MARK, looked)) >= 0:
            looked = mark + len(_MARK)
            start = piece.rfind(b"\n", 0, mark) + 1
            found = _EVALUATION.match(piece, looked)
            if piece.find(b"\n", mark) < 0:
                return start
            if not found or not _LOG_LINE.match(piece, start):
                # A model may print this text too.
                continue
            samples: list[bytes] = []
            end, begins = None, None
            for line in _LOG_LINE.finditer(piece, found.end()):
                if begins is not None:
                    samples.append(piece[begins : line.start()])
                    begins = None
                if not line[0].rstrip().endswith(_SAMPLE):
                    end = line.start()
                    break
                begins = line.end()
            if end is None and begins is not None:
                samples.append(piece[begins:])
            if samples and (at_end or end is not None):
                self._found[int(found[1])] = tuple(_answer(_text(sample), self._template) for sample in samples)
            if end is None:
                return start
            done = looked = end
        return max(done, piece.rfind(b"\n") + 1)


def timeline(work_dir: Path, template: PromptTemplate) -> list[Answers]:
    """Return all evaluations of a run in order, one per iteration (the last one logged)."""
    return Timeline(work_dir, template).read()


def _text(sample: bytes) -> str:
    return sample.decode("utf-8", errors="replace")


def _answer(sample: str, template: PromptTemplate) -> str:
    """Return the answer alone: after the template's text before it, up to the first stop word."""
    before_answer = template.instruction.rpartition("{input}")[2]
    answer = sample.rpartition(before_answer)[2] if before_answer in sample else sample
    for word in (*template.stop_words, template.suffix, "</s>"):
        if word:
            answer = answer.partition(word)[0]
    return answer.strip()
