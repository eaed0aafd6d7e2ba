"""The drawing in docs/architecture.md matches the source: rooms and imports exactly, sizes approximately."""

import re

import pytest

from tests.rooms import BEGIN, COMMAND, END, PAGE, Room, drawing, rooms, stairs
from tests.test_architecture import CORE, PAGES, PROJECT, ROOMS

SIZE = re.compile(r"^(\w+) +(\d+) +([\d,]+)", re.MULTILINE)
STALE = f"docs/architecture.md shows another house; draw it again: {COMMAND}"


def shown() -> str:
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def test_rooms_and_imports_are_those_of_the_source():
    assert SIZE.sub(r"\1", shown()) == SIZE.sub(r"\1", drawing()), STALE


def test_sizes_are_about_those_of_the_source():
    sizes = {name: (int(files), int(lines.replace(",", ""))) for name, files, lines in SIZE.findall(shown())}
    for room in rooms():
        assert sizes[room.name] == (
            pytest.approx(room.files, rel=0.25, abs=3),
            pytest.approx(room.lines, rel=0.25, abs=300),
        ), STALE


@pytest.mark.parametrize(
    "page", [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))], ids=lambda p: p.name
)
def test_what_a_page_names_is_there(page):
    """`room/module`, `core/room/module.py`, `tests/…`: the page names the current place of a file that has moved."""
    named = re.findall(
        rf"`((?:core|pages|tests|benchmarks|docs|components|{'|'.join(ROOMS)})/[\w/-]+(?:\.py)?)`",
        page.read_text("utf-8"),
    )
    for path in named:
        places = [root / (path + end) for root in (PROJECT, CORE, PAGES) for end in ("", ".py")]
        assert any(place.exists() for place in places), f"{page.name}: there is no {path}"


def test_an_import_is_a_dot_under_its_room():
    house = [
        Room(name="ground", files=2, lines=70, imports=frozenset()),
        Room(name="jobs", files=12, lines=1260, imports=frozenset({"ground"})),
        Room(name="pages", files=3, lines=449, imports=frozenset({"jobs"})),
    ]
    assert stairs(house) == [
        "            files  lines   ground jobs",
        "ground          2    100",
        "jobs           12  1,300     ●",
        "pages           3    400           ●",
    ]
