"""The text of web pages, and pages designed to take forever."""

import time

import pytest

from core.data.files.web_page import page_text


def test_the_text_without_menus_and_scripts():
    page = """<!DOCTYPE html><html><head><title>T</title><style>p > a {}</style><script>if (a < b) "</p>"</script></head>
    <body><nav><a href="x">menu</a></nav><!-- <p>no</p> --><h1 title='a > b'>One &amp; two</h1>
    <p class="x">three<br/>four &lt;five&gt;</p><svg><path/></svg><P>six</P><form>ask</form></body></html>"""
    lines = [line.strip() for line in page_text(page).split("\n") if line.strip()]
    assert lines == ["One & two", "three", "four <five>", "six"]


@pytest.mark.parametrize("piece", ["<a ", "<a", "<", "<!--", '<a "', "<a '", "<a b=\"<a '", "</", "<p><", "&", "<script>", "<![", "<?",
                                   "<div title=\"", "<a b='\"", "&#", "<nav>"])  # fmt: skip
@pytest.mark.parametrize("end", ["", ">", '">'])
def test_a_page_of_unfinished_tags_takes_no_time(piece, end):
    began = time.thread_time()
    page_text(piece * (400_000 // len(piece)) + end)
    assert time.thread_time() - began < 3
