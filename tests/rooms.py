"""Draws the rooms of the house into docs/architecture.md, from their files and imports: `python -m tests.rooms`.

What a room is for is the docstring of its `__init__.py`. `test_rooms.py` fails when the page no longer shows the house.
"""

import ast
from dataclasses import dataclass
from pathlib import Path

from tests.test_architecture import CORE, PAGES, PROJECT, ROOMS, files, imports

PAGE = PROJECT / "docs" / "architecture.md"
COMMAND = "python -m tests.rooms"
BEGIN, END = f"<!-- drawn by {COMMAND} -->\n", "<!-- drawn up to here -->\n"
ABOVE = ("headless", "components", "pages")


@dataclass(frozen=True, kw_only=True)
class Room:
    """One room of the drawing: its files, how many lines they have, which other rooms they import."""

    name: str
    files: int
    lines: int
    imports: frozenset[str]


def room_of(parts: tuple[str, ...]) -> str | None:
    """The room in which a file or a module is; None for what is not ours."""
    match parts:
        case ("core", room, *_) if room in ROOMS:
            return room
        # The command line, with the demo and the replay, which string the rooms together.
        case ("core", _, *_):
            return "headless"
        case ("pages", "components", *_):
            return "components"
        case ("pages", _, *_) | ("app.py",):
            return "pages"
    return None


def rooms() -> list[Room]:
    """All rooms, from the ground up to the pages."""
    inside: dict[str, list[Path]] = {name: [] for name in (*ROOMS, *ABOVE)}
    for path in (PROJECT / "app.py", *files(CORE, PAGES)):
        if room := room_of(path.relative_to(PROJECT).parts):
            inside[room].append(path)
    return [
        Room(
            name=name,
            files=len(paths),
            lines=sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths),
            imports=frozenset(
                room
                for path in paths
                for module in imports(path)
                if (room := room_of(tuple(module.split(".")))) and room != name
            ),
        )
        for name, paths in inside.items()
    ]


def purpose(directory: Path) -> str:
    """What a room is for, in its own words, on one line."""
    said = ast.get_docstring(ast.parse((directory / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(said.split())


def stairs(house: list[Room]) -> list[str]:
    """A row a room with its size, and a dot under each room that it imports: a house whose dots make stairs has no circle."""
    names = [room.name for room in house[:-1]]
    lines = [f"{'':<10} {'files':>6} {'lines':>6}   {' '.join(names)}"]
    for room in house:
        dots = " ".join(f"{'●' if name in room.imports else '':^{len(name)}}" for name in names)
        # Hundreds, and one for the smallest: nobody redraws for a line.
        lines.append(f"{room.name:<10} {room.files:>6} {max(100, round(room.lines, -2)):>6,}   {dots}".rstrip())
    return lines


def drawing() -> str:
    """The part of the page that is drawn: a picture of the rooms, and a table of what is decided in each."""
    lines = ["```text", *stairs(rooms()), "```", "", "| room | what is decided there |", "| --- | --- |"]
    for room in ROOMS:
        lines += [
            f"| `{inner.parent.relative_to(CORE).as_posix()}/` | {purpose(inner.parent)} |"
            for inner in (CORE / room / "__init__.py", *sorted((CORE / room).glob("*/__init__.py")))
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Put a new drawing in the place of the one that the page has."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + drawing() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
