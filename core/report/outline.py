"""The user's choices for the report of a run: author, notes, images, the sections and their order.

Stored in the run, in `writeup/`: outline.json, and the images next to it. Does not write the report.
"""

import io
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from core.ground.errors import BadInput
from core.ground.figures import MB, size
from core.ground.files import read_json, write_json
from core.ground.lock import locked
from core.training.run import Run

SECTIONS = (
    "task",
    "environment",
    "model",
    "dataset",
    "config",
    "commands",
    "training",
    "timeline",
    "comparison",
    "scores",
    "export",
    "gguf",
    "files",
    "time",
    "notes",
)
# Sections added later: an outline of an earlier version cannot mention them.
_LATER = ("gguf",)
MOST_NOTES = 20_000
MOST_BYTES = 20 * MB
KINDS = ("PNG", "JPEG", "WEBP", "GIF")
_OWN = re.compile(r"own-(\d+)\.(?:png|jpg)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image in the report: its file in `writeup/`, its caption, and its section."""

    file: str
    caption: str
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The contents of a report. `sections` are those shown, in order; without an `author` it is the run's nickname."""

    author: str | None = None
    notes: str = ""
    sections: tuple[str, ...] = SECTIONS
    masked: bool = True
    pictures: tuple[Picture, ...] = field(default_factory=tuple)

    @property
    def left_out(self) -> tuple[str, ...]:
        return tuple(name for name in SECTIONS if name not in self.sections)


def directory(run: Run) -> Path:
    """Return the directory of a run's outline and images."""
    return run.path / "writeup"


def load(run: Run) -> Outline:
    """Load the outline of `run`; by default everything is included. Invalid parts are ignored."""
    found = read_json(directory(run) / "outline.json")
    if not isinstance(found, dict):
        return Outline()
    sections = [name for name in found.get("sections", SECTIONS) if name in SECTIONS]
    _bring_what_is_new(sections, found.get("of") or [name for name in SECTIONS if name not in _LATER])
    pictures = [
        Picture(**told)
        for told in found.get("pictures", [])
        if isinstance(told, dict)
        and set(told) == {"file", "caption", "section"}
        and (directory(run) / Path(told["file"]).name).is_file()
    ]
    return Outline(
        author=found.get("author") or None,
        notes=str(found.get("notes") or ""),
        sections=tuple(dict.fromkeys(sections)),
        masked=found.get("masked") is not False,
        pictures=tuple(pictures),
    )


def change(run: Run, **changes: Any) -> Outline:
    """Change parts of the outline and store it. Raises BadInput for an unknown section or notes that are too long."""
    with locked(run.path / ".writeup.lock"):
        return _store(run, replace(load(run), **changes))


def add_picture(run: Run, content: bytes, name: str, caption: str = "", section: str = "notes") -> Outline:
    """Store a user's image for the report. Raises BadInput if it is not an image or too large.

    It is re-encoded from its pixels, so that metadata such as place and camera is removed.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if len(content) > MOST_BYTES:
        raise BadInput(
            f"图片 {name} 有 {size(len(content))}：最大 {size(MOST_BYTES)}，请缩小后再传",
            f"the image {name} is {size(len(content))}; the limit is {size(MOST_BYTES)}: make it smaller",
        )
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            kind = image.format or ""
            if kind not in KINDS:
                raise UnidentifiedImageError
            mode = "RGB" if kind == "JPEG" else "RGBA"
            # Rotate the image as its EXIF data says.
            clean = ImageOps.exif_transpose(image).convert(mode)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise BadInput(
            f"{name} 不是能读的图片：请用 PNG、JPEG、WebP 或 GIF",
            f"{name} is not a readable image: use PNG, JPEG, WebP or GIF",
        ) from None
    suffix = "jpg" if kind == "JPEG" else "png"
    with locked(run.path / ".writeup.lock"):
        outline = load(run)
        place = directory(run)
        place.mkdir(exist_ok=True)
        taken = [int(found[1]) for path in place.iterdir() if (found := _OWN.fullmatch(path.name))]
        path = place / f"own-{max(taken, default=0) + 1}.{suffix}"
        clean.save(path, quality=90) if kind == "JPEG" else clean.save(path)
        added = Picture(file=path.name, caption=caption.strip() or Path(name).stem, section=section)
        return _store(run, replace(outline, pictures=(*outline.pictures, added)))


def caption_picture(run: Run, file: str, caption: str) -> Outline:
    """Change the caption of an image."""
    with locked(run.path / ".writeup.lock"):
        outline = load(run)
        changed = tuple(replace(p, caption=caption.strip()) if p.file == file else p for p in outline.pictures)
        return _store(run, replace(outline, pictures=changed))


def remove_picture(run: Run, file: str) -> Outline:
    """Remove an image from the report and delete it."""
    with locked(run.path / ".writeup.lock"):
        outline = load(run)
        kept = tuple(picture for picture in outline.pictures if picture.file != file)
        if len(kept) < len(outline.pictures):
            (directory(run) / Path(file).name).unlink(missing_ok=True)
        return _store(run, replace(outline, pictures=kept))


def check_sections(names: Iterable[str]) -> None:
    """Raise BadInput for an unknown section."""
    for name in names:
        if name not in SECTIONS:
            raise BadInput(
                f"没有章节 {name}：可用 {'、'.join(SECTIONS)}",
                f"there is no section {name}: use {', '.join(SECTIONS)}",
            )


def _bring_what_is_new(sections: list[str], known: list[str]) -> None:
    """Insert sections that did not exist when the outline was stored, unless the user had omitted some."""
    if not set(known) & set(SECTIONS) <= set(sections):
        return
    for place, name in enumerate(SECTIONS):
        if name not in known and name not in sections:
            sections.insert(sections.index(SECTIONS[place - 1]) + 1, name)


def _store(run: Run, outline: Outline) -> Outline:
    check_sections((*outline.sections, *(picture.section for picture in outline.pictures)))
    if len(outline.notes) > MOST_NOTES:
        raise BadInput(
            f"心得有 {len(outline.notes)} 字，太长：最多 {MOST_NOTES} 字",
            f"the notes have {len(outline.notes)} characters; the limit is {MOST_NOTES}",
        )
    outline = replace(outline, sections=tuple(dict.fromkeys(outline.sections)))
    write_json(directory(run) / "outline.json", {**asdict(outline), "of": SECTIONS, "changed": time.time()})
    return outline
