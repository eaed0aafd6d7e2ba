"""`engine …`: choose and check the Python that the engine runs in."""

import sys

from core.engine import checkup, interpreter
from core.ground.workspace import Workspace
from core.headless.command import Answer, Options, Table


def engine_show(workspace: Workspace, _: Options) -> Answer:
    engine = interpreter.in_use(workspace)
    found = checkup.last(workspace, engine)
    return {**engine.to_json(), "checked": found.to_json() if found else None, "nearby": interpreter.nearby()}


def engine_use(workspace: Workspace, options: Options) -> Answer:
    engine = interpreter.candidate(workspace, options.path)
    if options.quick or engine.own:
        interpreter.use(workspace, engine)
        return {**engine.to_json(), "checked": None}
    print("loading all dependencies, about half a minute …", file=sys.stderr)
    return {**engine.to_json(), "checked": checkup.adopt(workspace, engine).to_json()}


def engine_check(workspace: Workspace, _: Options) -> Answer:
    engine = interpreter.in_use(workspace)
    print("loading all dependencies, about half a minute …", file=sys.stderr)
    return {**engine.to_json(), "checked": checkup.run(workspace, engine).to_json()}


COMMANDS: Table = {
    "engine show": (engine_show, []),
    "engine use": (
        engine_use,
        [
            (
                ("path",),
                {"help": "a Python with XTuner 0.1.21 to 0.2.0, or its environment directory; `own`: the app's"},
            ),
            (("--quick",), {"action": "store_true", "help": "check versions only, load nothing"}),
        ],
    ),
    "engine check": (engine_check, []),
}
