"""The commands of docs/commands.md that look at a run, on the demo; `tests/test_docs.py` has the others."""

from core import __main__ as command_line
from tests.test_docs import COMMANDS, LOOKS, name_of, of_core, written


def test_what_looks_at_a_run_finds_one(demo, capsys):
    lines = [arguments for line in written(COMMANDS) if (arguments := of_core(line)) and name_of(arguments) in LOOKS]
    assert {name_of(arguments) for arguments in lines} == LOOKS
    for arguments in lines:
        # By its id, because other tests start runs in parallel.
        arguments = [demo.answer["run"] if word == "latest" else word for word in arguments]
        assert command_line.main([*arguments, "--workspace", str(demo.workspace.root), "--json"]) == 0
        assert demo.answer["run"] in capsys.readouterr().out or "metrics" in arguments
