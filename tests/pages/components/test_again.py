"""What is deleted while a page is drawn takes no page away; an error that stays is shown."""

import shutil

import pytest
from streamlit.testing.v1 import AppTest

from tests.conftest import PATIENCE


def page(directory, missing):
    """Draw a directory that is deleted after it was listed, and something that is missing each time."""
    import shutil
    from pathlib import Path

    import streamlit as st

    from core.ground.errors import BadInput
    from pages.components.again import again_if_gone

    def draw():
        for path in sorted(Path(directory).iterdir()):
            shutil.rmtree(Path(directory) / "b", ignore_errors=True)
            st.text((path / "name.txt").read_text())
        if missing:
            raise BadInput("没有", "there is none")

    again_if_gone(draw)


@pytest.fixture
def directory(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name.txt").write_text(name)
    return tmp_path


def test_what_was_deleted_meanwhile_is_not_there(directory):
    drawn = AppTest.from_function(page, args=(str(directory), False), default_timeout=PATIENCE).run()
    assert not drawn.exception
    assert [text.value for text in drawn.text] == ["a", "c"]


def test_an_error_that_stays_is_shown(directory):
    shutil.rmtree(directory / "b")
    drawn = AppTest.from_function(page, args=(str(directory), True), default_timeout=PATIENCE).run()
    assert len(drawn.exception) == 1
    assert len(drawn.run().exception) == 1, "each time, and not drawn for ever"
