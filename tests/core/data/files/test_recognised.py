"""The document on supported data matches the code."""

from core.data.files import chatlog_text, formats
from core.data.files.recognised import document
from core.ground.workspace import PROJECT


def test_the_document_is_that_of_the_code():
    assert (PROJECT / "docs" / "data.md").read_text(encoding="utf-8") == document(), (
        "python -m core.data.files.recognised > docs/data.md"
    )


def test_it_shows_each_style_and_format():
    assert [style.name for style in (*chatlog_text.STYLES, chatlog_text.SPOKEN)] == list(chatlog_text.SHOWN)
    for style in (*chatlog_text.STYLES, chatlog_text.SPOKEN):
        assert style.line.fullmatch(chatlog_text.SHOWN[style.name])
    assert all(name in document() for name in formats.FORMATS)
