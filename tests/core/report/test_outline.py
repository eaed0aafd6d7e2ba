"""The user's part of a report: stored in the run, read back, and only valid images and sections."""

import io
import json

import pytest
from PIL import Image

from core.ground.errors import BadInput
from core.report import outline


def png(size=(40, 30), kind="PNG", **options) -> bytes:
    """Return a small image."""
    packed = io.BytesIO()
    Image.new("RGB", size, "#3366cc").save(packed, kind, **options)
    return packed.getvalue()


def test_everything_is_in_where_nobody_chose(finished_run):
    found = outline.load(finished_run)
    assert found.sections == outline.SECTIONS
    assert found.left_out == ()
    assert found.masked
    assert not (finished_run.path / "writeup").exists()


def test_choices_are_kept(finished_run):
    outline.change(finished_run, author="小红", notes="# 我的\n", sections=("notes", "task", "notes"), masked=False)
    found = outline.load(finished_run)
    assert (found.author, found.notes, found.masked) == ("小红", "# 我的\n", False)
    assert found.sections == ("notes", "task")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_is_kept_as_pixels_alone(finished_run, kind):
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    content = png(kind=kind, **({"exif": exif} if kind in ("JPEG", "WEBP") else {}))
    added = outline.add_picture(finished_run, content, "../../我的 截图.PNG", "训练 *图*", "training").pictures[0]
    assert added.section == "training"
    assert added.caption == "训练 *图*"
    path = finished_run.path / "writeup" / added.file
    assert b"taken at home" not in path.read_bytes()
    with Image.open(path) as image:
        assert image.size == (40, 30)
    again = outline.add_picture(finished_run, png(), "b.png").pictures
    assert [picture.file for picture in again] == [added.file, "own-2.png"]
    assert outline.remove_picture(finished_run, added.file).pictures == again[1:]
    assert not path.exists()


def test_a_picture_of_a_phone_stands_upright(finished_run):
    exif = Image.Exif()
    exif[0x0112] = 6  # A quarter turn to the right.
    added = outline.add_picture(finished_run, png(kind="JPEG", exif=exif), "a.jpg").pictures[0]
    with Image.open(finished_run.path / "writeup" / added.file) as image:
        assert image.size == (30, 40)


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", png()[:60], b"%PDF-1.4"])
def test_what_is_no_picture_is_refused(finished_run, content):
    with pytest.raises(BadInput) as refused:
        outline.add_picture(finished_run, content, "x.png")
    assert "x.png" in str(refused.value)
    assert outline.load(finished_run).pictures == ()


def test_too_large_a_picture_is_refused(finished_run, monkeypatch):
    monkeypatch.setattr(outline, "MOST_BYTES", 50)
    with pytest.raises(BadInput):
        outline.add_picture(finished_run, png(), "x.png")


def test_unknown_sections_and_endless_notes_are_refused(finished_run):
    for wrong in ({"sections": ("task", "poem")}, {"notes": "x" * (outline.MOST_NOTES + 1)}):
        with pytest.raises(BadInput):
            outline.change(finished_run, **wrong)
    with pytest.raises(BadInput):
        outline.add_picture(finished_run, png(), "x.png", section="poem")
    assert outline.load(finished_run).sections == outline.SECTIONS


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", json.dumps({"sections": ["poem", "task"], "pictures": [{"file": "gone.png"}, 7], "notes": None})],
)
def test_a_file_that_somebody_changed(finished_run, text):
    (finished_run.path / "writeup").mkdir()
    (finished_run.path / "writeup" / "outline.json").write_text(text)
    found = outline.load(finished_run)
    assert "task" in found.sections
    assert "poem" not in found.sections
    assert found.pictures == ()


def test_a_section_of_a_later_version_comes_in_where_nothing_was_left_out(finished_run):
    """A user who did not know the section did not decide about it; one who omitted sections gets no new ones."""
    before = [name for name in outline.SECTIONS if name != "gguf"]
    moved = ["notes", *before[:-1]]
    for sections, of, expected in (
        (before, None, outline.SECTIONS),
        (moved, None, ("notes", *outline.SECTIONS[:-1])),
        (before[:4], None, tuple(before[:4])),
        (before, outline.SECTIONS, tuple(before)),
    ):
        told = {"sections": sections} | ({"of": of} if of else {})
        (finished_run.path / "writeup").mkdir(exist_ok=True)
        (finished_run.path / "writeup" / "outline.json").write_text(json.dumps(told))
        assert outline.load(finished_run).sections == expected
    outline.change(finished_run, sections=tuple(before))
    assert outline.load(finished_run).sections == tuple(before)
