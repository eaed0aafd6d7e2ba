"""The chat's own decoding gives the same tokens as `generate` and PEFT; the worker through the commands."""

import json
from typing import Any

import pytest

from core.jobs.job import jobs_in
from tests.e2e.conftest import NICKNAME, Demo, command, engine


@pytest.fixture(scope="module")
def cases(demo: Demo) -> dict[str, Any]:
    """The results of `chat_cases`."""
    said = engine(demo.workspace, "-m", "tests.e2e.chat_cases", str(demo.workspace.root), str(demo.run))
    return json.loads(said.splitlines()[-1])


def test_the_models_own_code_is_decoded_our_way(cases: dict[str, Any]) -> None:
    assert cases["usable"]
    assert cases["differ"]


@pytest.mark.parametrize("way", ["pairs", "mixed", "plain", "whole"])
def test_tokens_are_those_of_generate(cases: dict[str, Any], way: str) -> None:
    assert cases[way]


def test_equal_seeds_draw_alike(cases: dict[str, Any]) -> None:
    assert cases["seed"] == [True, True]


def test_an_adapter_is_taken_off(cases: dict[str, Any]) -> None:
    assert cases["forgotten"] == []


def test_a_further_model_is_loaded_where_there_is_room_for_it(cases: dict[str, Any]) -> None:
    assert cases["room"] == ["room", "none"]


def test_never_half_a_character_and_stop_words_of_several_tokens(cases: dict[str, Any]) -> None:
    assert cases["texts"][-1] == "小助手😀𠮷，"
    assert not any("\ufffd" in text for text in cases["texts"])


def test_base_tuned_and_a_checkpoint_are_asked_at_once(apart: Demo) -> None:
    first = f"iter_{min(int(p.stem[5:]) for p in (apart.run / 'work_dir').glob('iter_*.pth'))}"
    run = apart.answer["run"]
    sides = ["--run", run, "--side", first, "--side", "merged"]
    done = command(apart.workspace, "chat", "ask", "--prompt", "你是谁", *sides, "--json")
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert NICKNAME not in found["base"]["answer"]
    assert NICKNAME in found["tuned"]["answer"]
    assert found["merged"]["answer"] == found["tuned"]["answer"]
    assert found[first]["tokens"] > 0
    job = jobs_in(apart.workspace.jobs, "chat")[-1]
    assert job.progress["quick"], job.progress["why"]
    assert not job.status().live
