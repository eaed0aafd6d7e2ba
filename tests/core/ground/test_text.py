"""Messages in both languages, and which one the command line uses."""

import pytest

from core.ground.errors import BadInput, StudioError, WorkFailed
from core.ground.problem import Problem
from core.ground.text import Text, environment_language


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "XTUNER_STUDIO_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "XTUNER_STUDIO_LANG": "en"}, "en"),
    ],
)
def test_language_of_the_environment(monkeypatch, environment, language):
    for name in ("XTUNER_STUDIO_LANG", "LC_ALL", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert environment_language() == language
    assert str(Text("中", "en")) == {"zh": "中", "en": "en"}[language]


def test_errors_carry_both_languages_and_an_exit_code(monkeypatch):
    monkeypatch.setenv("XTUNER_STUDIO_LANG", "zh")
    assert str(BadInput("坏", "bad")) == "坏"
    assert (BadInput("坏", "bad").exit_code, WorkFailed("坏", "bad").exit_code) == (2, 1)
    assert issubclass(BadInput, StudioError)
    assert issubclass(WorkFailed, StudioError)


def test_problem_as_json(monkeypatch):
    monkeypatch.setenv("XTUNER_STUDIO_LANG", "en")
    problem = Problem(severity="error", where="row 1", message=Text("坏", "bad"), hint=Text("改", "mend"))
    assert problem.to_json() == {"severity": "error", "where": "row 1", "message": "bad", "hint": "mend"}
