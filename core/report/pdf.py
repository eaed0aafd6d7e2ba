"""The report as PDF: printed by Chromium if it is installed, else drawn by a library; both support Chinese."""

import logging
import re
import warnings
from pathlib import Path

from pylopdf_fonts_zh_cn import sans_path

from core.ground.errors import WorkFailed
from core.ground.text import Text
from core.report import browser


def make(html: str, path: Path) -> Text | None:
    """Create the PDF `path` of a self-contained page. Returns the reason if that is impossible."""
    program = browser.find()
    if program is not None:
        try:
            browser.print_pdf(program, html, path)
            return None
        except WorkFailed as error:
            logging.getLogger(__name__).warning("%s", error)
    try:
        drawn(html, path)
    except Exception as error:  # noqa: BLE001 - the library meets what models write, and a report is whole without it
        path.unlink(missing_ok=True)
        why = f"{type(error).__name__}: {error}"[:200]
        return Text(
            f"没有生成 PDF（{why}）：用浏览器打开 report.html，打印成 PDF 即可",
            f"no PDF was created ({why}): open report.html in a browser and print it to PDF",
        )
    return None


def drawn(html: str, path: Path) -> None:
    """Draw the page without a browser: the same text, tables and images in a plainer layout."""
    from fpdf import FPDF, FontFace

    pdf = FPDF(format="A4")
    pdf.set_margin(15)
    pdf.set_auto_page_break(True, 15)
    for style in ("", "B", "I", "BI"):
        # One weight: a second would double the font, and headings stand out by their size.
        pdf.add_font("sans", style, sans_path())
    pdf.set_font("sans", size=10)
    pdf.set_title(re.sub(r".*<title>(.*?)</title>.*", r"\1", html, flags=re.S))
    pdf.add_page()
    body = re.sub(r".*<body>(.*)</body>.*", r"\1", html, flags=re.S)
    # Remove markup that the library does not support within cells, and set the width of images on paper.
    body = re.sub(r"<td>(.*?)</td>", lambda cell: f"<td>{re.sub(r'<[^>]+>', '', cell[1])}</td>", body, flags=re.S)
    body = re.sub(r"</?span[^>]*>|</?blockquote>", "", body).replace("<img ", '<img width="510" ')
    styles = {name: FontFace(family="sans", size_pt=8) for name in ("pre", "code")}
    styles |= {f"h{n}": FontFace(family="sans", size_pt=20 - 3 * n, color="#1f2328") for n in range(1, 5)}
    with warnings.catch_warnings():
        # Omit characters for which the font has no glyph, such as emojis.
        warnings.simplefilter("ignore")
        pdf.write_html(body, font_family="sans", tag_styles=styles, table_line_separators=True)
        pdf.output(str(path))
