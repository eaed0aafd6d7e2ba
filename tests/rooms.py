"""Draws the rooms into docs/architecture.md, from their files and imports: `python -m tests.rooms`.

The purpose of a room is the docstring of its `__init__.py`. `test_rooms.py` fails if the page is out of date.
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
    """One room of the drawing: its files, its lines, the other rooms it imports."""

    name: str
    files: int
    lines: int
    imports: frozenset[str]


def room_of(parts: tuple[str, ...]) -> str | None:
    """Return the room of a file or module; None for foreign ones."""
    match parts:
        case ("core", room, *_) if room in ROOMS:
            return room
        # The command line, with the demo and the replay, which combine the rooms.
        case ("core", _, *_):
            return "headless"
        case ("pages", "components", *_):
            return "components"
        case ("pages", _, *_) | ("app.py",):
            return "pages"
    return None


def rooms() -> list[Room]:
    """Return all rooms, from `ground` to the pages."""
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
    """Return the purpose of a room, its docstring on one line."""
    said = ast.get_docstring(ast.parse((directory / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(said.split())


def stairs(house: list[Room]) -> list[str]:
    """Return a row per room: its size, and a dot under each room it imports, only below the diagonal if acyclic."""
    names = [room.name for room in house[:-1]]
    lines = [f"{'':<10} {'files':>6} {'lines':>6}   {' '.join(names)}"]
    for room in house:
        dots = " ".join(f"{'●' if name in room.imports else '':^{len(name)}}" for name in names)
        # Rounded to hundreds, at least one hundred, so that the page need not be redrawn for every line.
        lines.append(f"{room.name:<10} {room.files:>6} {max(100, round(room.lines, -2)):>6,}   {dots}".rstrip())
    return lines


def drawing() -> str:
    """Return the drawn part of the page: a picture of the rooms, and a table of their purposes."""
    lines = ["```text", *stairs(rooms()), "```", "", "| room | what is decided there |", "| --- | --- |"]
    for room in ROOMS:
        lines += [
            f"| `{inner.parent.relative_to(CORE).as_posix()}/` | {purpose(inner.parent)} |"
            for inner in (CORE / room / "__init__.py", *sorted((CORE / room).glob("*/__init__.py")))
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Replace the drawing on the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + drawing() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
