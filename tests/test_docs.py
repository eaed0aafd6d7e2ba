"""A newcomer follows the docs: every command on a page exists, and the cheap ones are run.

Only parsed: commands that train, load a model, download, publish or open the app (`PARSED`), and every `make` and
`python -m` of a module, whose target or module must exist. Run, in the order of docs/commands.md and in a separate
workspace: the rest (`RUN`). `tests/e2e/test_docs.py` runs those that look at a run, on the demo.
"""

import re
import shlex
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from core import __main__ as command_line
from core.ground.workspace import PROJECT
from core.headless.command import Table
from tests.fakes.model import write_model

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
COMMANDS = PROJECT / "docs" / "commands.md"
# Run here, without a run and without torch. All others of docs/commands.md are PARSED or LOOKS.
RUN = {
    "assignment", "tunnel", "models shared", "models list", "models check", "models tree", "models delete", "engine show",
    "datasets assistant", "datasets import", "datasets list", "datasets show", "datasets check", "datasets replace",
    "datasets split", "datasets remake", "configs list", "configs new", "configs set", "configs undo", "configs diff",
    "configs copy", "configs export", "configs import", "recipes list", "recipes save", "recipes export", "recipes import",
    "train queue", "train list",
}  # fmt: skip
# Only look at a finished run: run on the demo, in tests/e2e/test_docs.py.
LOOKS = {"train status", "train metrics", "train timeline"}
# Train, load a model or torch, download, publish, change a run, or need a directory of another machine.
PARSED = {
    "doctor", "demo", "models demo", "models small", "models link", "models download", "models trust", "models unlink",
    "engine check", "engine use", "datasets corpus", "datasets replay", "datasets stats", "datasets render",
    "configs preflight", "train start", "train stop", "train resume", "train move", "train compare", "train rename",
    "train delete", "train restore", "train trash", "export all", "export convert", "export merge", "export verify",
    "export gguf", "chat ask", "chat score", "report build", "publish package", "publish upload",
}  # fmt: skip


@cache
def table() -> Table:
    """Return all commands. Importing them takes two seconds, which collecting the tests should not."""
    return command_line.commands()


def written(page: Path) -> list[str]:
    """Return the command lines on a page: lines of its shell blocks, and text between backticks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|shell)\n(.*?)^```", text, re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
    return [line.strip() for line in lines if line.strip()]


def words(line: str) -> list[str]:
    """Return the words of a command line, without environment variables before it, comments, and redirections."""
    split = shlex.split(re.sub(r"\s>.*|…", "", line), comments=True)
    while split and re.fullmatch(r"[A-Z_]+=.*", split[0]):
        split = split[1:]
    return split


def of_core(line: str) -> list[str] | None:
    """Return the arguments of `python -m core` in this line, if it is one; `models link PATH` by itself is one too."""
    try:
        split = words(line)
    except ValueError:
        return None
    if split[1:3] == ["-m", "core"] and split[0].endswith("python"):
        return split[3:]
    return split if " ".join(split[:2]) in table() else None


def name_of(arguments: list[str]) -> str:
    return next(name for name in (" ".join(arguments[:2]), arguments[0]) if name in table())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_parses(page, capsys):
    parser = command_line.parser(table())
    for line in written(page):
        if (arguments := of_core(line)) is not None:
            # N and the like stand for a number.
            arguments = ["1" if re.fullmatch("[A-Z]", word) else word for word in arguments]
            if arguments in (name.split() for name in table()) and not line.startswith(("python", ".venv")):
                continue  # A command that is only mentioned.
            try:
                parser.parse_args(arguments)
            except SystemExit:
                pytest.fail(f"{page.name}: {line}: {capsys.readouterr().err}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_and_module_is_there(page):
    targets = set(re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(), re.M))
    for line in written(page):
        if found := re.match(r"make ([a-z][\w-]*)", line):
            assert found[1] in targets, line
        for module in re.findall(r"python -m ((?:core|benchmarks|tests)[\w.]*)", line):
            assert find_spec(module), line


def test_the_page_of_commands_has_them_all():
    named = {name_of(arguments) for line in written(COMMANDS) if (arguments := of_core(line))}
    assert named == set(table()) == RUN | LOOKS | PARSED
    assert len(RUN) + len(LOOKS) + len(PARSED) == len(table())


def test_the_cheap_commands_do_what_the_page_says(workspace, tmp_path, monkeypatch, capsys):
    write_model(workspace.models / "demo", demo=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("问题,答案\n你好,你好呀\n天是什么颜色？,蓝色\n", encoding="utf-8")
    ran = set()
    # The model comes last: the page deletes it where models are described.
    lines = sorted((line for line in written(COMMANDS) if of_core(line)), key=lambda line: "models delete" in line)
    for line in lines:
        arguments = of_core(line)
        if (
            (name := name_of(arguments)) in RUN
            and len(arguments) > len(name.split())
            or name in RUN
            and "python" in line
        ):
            assert command_line.main(arguments) == 0, f"{line}: {capsys.readouterr().err}"
            ran.add(name)
    assert ran == RUN
