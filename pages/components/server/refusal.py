"""The page for visitors without access: one sentence in each language and the next step, without Streamlit."""

import re
from html import escape

from starlette.responses import HTMLResponse, Response

from pages.components.text import LANGUAGES, both

# Nothing is loaded, and the form leads back here.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
_CODE = r"<code>\1</code>"
_PAGE = """<!doctype html>
<html lang="zh"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">{head}
<title>XTuner Studio</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.7 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; margin: 12vh auto; max-width: 40rem; padding: 0 1.5rem }}
form {{ display: flex; gap: .5rem; margin: 2rem 0 }} input {{ flex: 1; min-width: 0 }}
input, button {{ font: inherit; padding: .4rem .8rem }} code {{ overflow-wrap: anywhere }}
</style></head><body><h1>XTuner Studio</h1>{body}</body></html>
"""


def refused(reason: str, status: int, *, form: bool = False, **values: str) -> Response:
    """Return the page for the text `access.<reason>` in the locales; with `form` it asks for the token."""
    text = both(f"access.{reason}", **{key: escape(value[:120]) for key, value in values.items()})
    body = "".join(f'<p lang="{language}">{re.sub("`(.*?)`", _CODE, text.in_(language))}</p>' for language in LANGUAGES)
    if form:
        label = " / ".join(map(both("access.enter").in_, LANGUAGES))
        # Sent by GET: if referrers are turned off, a form is sent without an origin.
        body += (
            '<form method="get"><input type="password" name="token" aria-label="token" autocomplete="off" autofocus '
            f"required><button>{label}</button></form>"
        )
    return _page(body, status)


def again(address: str) -> Response:
    """Return a page that redirects to `address`: coming from our own page, the browser sends its ticket."""
    return _page("", 401, f'<meta http-equiv="refresh" content="0;url={escape(address)}">')


def _page(body: str, status: int, head: str = "") -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"}
    return HTMLResponse(_PAGE.format(head=head, body=body), status, headers)
