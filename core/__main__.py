"""The headless commands: `python -m core COMMAND … [--workspace DIR] [--json]`, on the same functions as the pages.

With `--json` stdout is one JSON object; progress and messages go to stderr. Exit 0 done, 1 the work failed,
2 bad input, in one line. What a command does is in `headless`.
"""

import argparse
import importlib
import json
import sys
from typing import Any, NoReturn

from core.ground import garbage
from core.ground.errors import StudioError
from core.ground.text import Text
from core.ground.workspace import Workspace
from core.headless.command import Table

# The modules of `headless` behind each first word. Only the ones needed are imported: all of them take two seconds.
STAGES = {
    "doctor": ("machine",),
    "tunnel": ("machine",),
    "assignment": ("machine",),
    "demo": ("machine",),
    "models": ("models",),
    "engine": ("engine",),
    "datasets": ("assistant", "datasets", "imports"),
    "configs": ("configs",),
    "recipes": ("configs",),
    "train": ("training", "shelf"),
    "export": ("export",),
    "chat": ("chat",),
    "report": ("report",),
    "publish": ("report",),
}


def commands(word: str = "") -> Table:
    """Return the commands that begin with `word`; all commands if none does."""
    modules = dict.fromkeys(STAGES.get(word) or (module for stage in STAGES.values() for module in stage))
    tables = [importlib.import_module(f"core.headless.{module}").COMMANDS for module in modules]
    return {name: command for table in tables for name, command in table.items()}


class Parser(argparse.ArgumentParser):
    """Reports errors in one line, like every other bad input."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message} (--help)\n")
        raise SystemExit(2)


def overview(table: Table) -> str:
    """Return a line per group of commands: its name and its verbs."""
    groups: dict[str, list[str]] = {}
    for name in table:
        group, _, verb = name.partition(" ")
        groups.setdefault(group, []).extend([verb] if verb else [])
    lines = [f"  {group:<12}{', '.join(verbs)}".rstrip() for group, verbs in groups.items()]
    return "\n".join(["commands (each with its own --help):", *lines])


def parser(table: Table) -> argparse.ArgumentParser:
    """Return the argument parser for these commands."""
    common = Parser(add_help=False)
    common.add_argument("--workspace", help="default: XTUNER_STUDIO_HOME, else ./workspace")
    common.add_argument("--json", action="store_true", help="print one JSON object")
    root = Parser(
        prog="python -m core",
        description=__doc__,
        epilog=overview(table),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top = root.add_subparsers(required=True, metavar="COMMAND")
    groups: dict[str, Any] = {}
    for name, (function, arguments) in table.items():
        group, _, verb = name.partition(" ")
        if verb and group not in groups:
            groups[group] = top.add_parser(group).add_subparsers(required=True, metavar="VERB")
        leaf = (groups[group] if verb else top).add_parser(verb or group, parents=[common])
        for flags, settings in arguments:
            leaf.add_argument(*flags, **settings)
        leaf.set_defaults(function=function)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = parser(commands(words[0] if words else "")).parse_args(words)
    garbage.resume()
    try:
        answer = options.function(Workspace.open(options.workspace), options)
    except StudioError as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(Text("不再等待：后台运行的继续", "no longer waiting: the background job continues"), file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(answer, ensure_ascii=False, allow_nan=False))
    elif set(answer) == {"name", "diff"}:
        print(answer["diff"])
    else:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
