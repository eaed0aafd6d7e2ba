"""Draw a directory like the command `tree`: links with their targets, hidden files omitted."""

from pathlib import Path

from core.ground.figures import size


def tree(
    root: Path, *, depth: int | None = None, sizes: bool = False, most: int | None = None, linked_to: Path | None = None
) -> str:
    """Return the files below `root`, down to `depth`, at most `most` lines; `sizes` adds the size after each name.

    `linked_to`: the path to show as the target of `root`, if it differs from the actual one.
    """
    lines: list[str] = []
    directories = files = 0

    def named(path: Path) -> str:
        if path.is_symlink():
            return f"{path.name} -> {path.readlink()}"
        return path.name + (f"  ({size(path.stat().st_size)})" if sizes and path.is_file() else "")

    def draw(directory: Path, before: str, level: int) -> None:
        nonlocal directories, files
        try:
            entries = sorted(entry for entry in directory.iterdir() if not entry.name.startswith("."))
        except OSError:
            return
        for entry in entries:
            last = entry == entries[-1]
            lines.append(f"{before}{'└── ' if last else '├── '}{named(entry)}")
            inside = entry.is_dir() and not entry.is_symlink()
            directories, files = directories + inside, files + (not inside)
            if inside and level != depth:
                draw(entry, before + ("    " if last else "│   "), level + 1)

    draw(linked_to or root, "", 1)
    if most is not None and len(lines) > most:
        lines[most:] = [f"… ({len(lines) - most})"]
    counts = f"{directories} director{'y' if directories == 1 else 'ies'}, {files} file{'' if files == 1 else 's'}"
    first = f"{root.name} -> {linked_to}" if linked_to else named(root)
    return "\n".join([first, *lines, "", counts])
