"""Extracts the text of a web page without menus, scripts and forms, in one pass: linear time for any input."""

import html
import re
from collections.abc import Iterator

_SKIPPED = {
    "script",
    "style",
    "nav",
    "footer",
    "aside",
    "form",
    "noscript",
    "svg",
    "template",
    "iframe",
    "button",
    "title",
}
# Their content is not markup: only the matching end tag ends them.
_RAW = {"script", "style"}
_BLOCKS = set("p div br li tr h1 h2 h3 h4 h5 h6 section article table ul ol pre blockquote dt dd header main".split())
# A tag ends before the next "<", even within quotes, and a match is never retried: thousands of unfinished tags take
# linear time.
_TAG = re.compile(
    r"<(/?)([A-Za-z][\w:-]*)((?>[^<>\"']+|\"[^\"<]*\"|'[^'<]*')*+(?=>)|[^<>]*)>|<!--|<![^<>]*>|<\?[^<>]*>"
)
_SPACE = re.compile(r"\s+")


def page_text(page: str) -> str:
    """Return the text of a page, with each block on its own line."""
    parts: list[str] = []
    skipping: list[str] = []
    for tag, closes, text in _pieces(page):
        if tag is None:
            if not skipping:
                parts.append(_SPACE.sub(" ", html.unescape(text)))
        elif closes and tag in skipping:
            del skipping[skipping.index(tag) :]
        elif tag in _SKIPPED and not closes:
            skipping.append(tag)
        elif tag in _BLOCKS:
            parts.append("\n")
    return "".join(parts)


def _pieces(page: str) -> Iterator[tuple[str | None, bool, str]]:
    """Yield each tag with its name and whether it closes, and the text in between."""
    at = 0
    lower: str | None = None
    comments = True
    while match := _TAG.search(page, at):
        if match.start() > at:
            yield None, False, page[at : match.start()]
        at = match.end()
        if match[0] == "<!--":
            end = page.find("-->", at) if comments else -1
            comments = end >= 0
            at = end + 3 if comments else at
        elif match[2]:
            name = match[2].lower()
            if not match[3].rstrip().endswith("/") or name not in _SKIPPED:
                yield name, bool(match[1]), ""
            if name in _RAW and not match[1]:
                lower = page.lower() if lower is None else lower
                end = lower.find(f"</{name}", at)
                at = end if end >= 0 else len(page)
    if at < len(page):
        yield None, False, page[at:]
