"""The report as a self-contained HTML page: images and style are embedded."""

import base64
import html
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path

from markdown_it import MarkdownIt

from core.ground.text import Language

_STYLE = """
:root{color-scheme:light dark}
body{font-family:system-ui,'Noto Sans CJK SC','Noto Sans SC','PingFang SC','Microsoft YaHei',sans-serif;max-width:60rem;
margin:2rem auto;padding:0 1rem;line-height:1.7;color:#1f2328;background:#fff;overflow-wrap:anywhere}
h1{font-size:1.8rem}h2{margin-top:2.2rem;border-bottom:1px solid #d0d7de;padding-bottom:.3rem}
table{border-collapse:collapse;width:100%;margin:1rem 0;font-size:.95rem}
td,th{border:1px solid #d0d7de;padding:.4rem .6rem;text-align:left;vertical-align:top}th{background:#f3f6fb}
pre{background:#f6f8fa;padding:.9rem;overflow:auto;font-size:.85rem;line-height:1.45;white-space:pre-wrap}
code{font-family:ui-monospace,Consolas,Menlo,'Noto Sans Mono CJK SC','Noto Sans SC',monospace}
td:first-child{overflow-wrap:normal}
@media(min-width:40rem){tr:not(:has(:nth-child(6)))>*{min-width:3.5em}}
img{max-width:100%;border:1px solid #d0d7de;border-radius:6px}
blockquote{margin:1rem 0;padding:.2rem 1rem;border-left:4px solid #d0d7de}
.added{color:#116329}.removed{color:#a40e26}
@media (prefers-color-scheme:dark){body{color:#e4e9f1;background:#12161d}td,th,h2,img,blockquote{border-color:#3a4350}
th{background:#1c222c}pre{background:#1c222c}a{color:#7fb0ff}.added{color:#7ee787}.removed{color:#ff9a92}}
@media print{body{max-width:none;margin:0;color:#1f2328;background:#fff}h2,h3{break-after:avoid}
tr,img{break-inside:avoid}th{background:#f3f6fb}pre{background:#f6f8fa}}
"""
_PICTURE = re.compile(r'<img src="([^"]*)" alt="([^"]*)"[^>]*>')
# Also stated in the page itself, for a file opened elsewhere, without our server's headers.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"


def page(text: str, title: str, pictures: Mapping[str, Path], language: Language, font: Path | None = None) -> str:
    """Convert the Markdown `text` to a page; `pictures` by their name in the text, and a `font` for Chinese.

    An image that is not among them, for example in a model's answer, is replaced by its text.
    """

    def inside(match: re.Match[str]) -> str:
        path = pictures.get(match[1])
        if path is None:
            return match[2]
        kind = mimetypes.guess_type(path.name)[0] or "image/png"
        return f'<img src="data:{kind};base64,{_base64(path)}" alt="{match[2]}">'

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = _PICTURE.sub(inside, body)
    body = re.sub(r'(<pre><code class="language-diff">)(.*?)(</code></pre>)', _coloured, body, flags=re.S)
    face = (
        f"@font-face{{font-family:Brought;src:url(data:font/otf;base64,{_base64(font)})}}body{{font-family:Brought}}"
        if font
        else ""
    )
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if language == "zh" else "en"}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}{face}</style></head>\n<body>{body}</body></html>\n"
    )


def _coloured(match: re.Match[str]) -> str:
    """Color the lines of a diff as usual; the signs remain, so that nothing depends on color alone."""
    kinds = {"+": "added", "-": "removed"}
    lines = [
        f'<span class="{kinds[line[0]]}">{line}</span>' if line[:1] in kinds else line for line in match[2].split("\n")
    ]
    return match[1] + "\n".join(lines) + match[3]


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
