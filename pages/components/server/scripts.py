"""The inline scripts of a page, Streamlit's and ours: the browser runs these, by their hashes, and no others."""

import base64
import hashlib
import re
from pathlib import Path

from streamlit import file_util

from core.ground.text import Language

_HTML_LANGUAGES: dict[Language, str] = {"zh": "zh-CN", "en": "en"}


def html_language(language: Language) -> str:
    """Return a script that sets the page's language; Streamlit declares English, which misleads screen readers."""
    return f"document.documentElement.lang = '{_HTML_LANGUAGES[language]}'"


def hashes() -> list[str]:
    """Return the hash of every inline script, in the form of a Content-Security-Policy."""
    page = (Path(file_util.get_static_dir()) / "index.html").read_text(encoding="utf-8")
    components = Path(__file__).parents[1]
    ours = [path.read_text(encoding="utf-8").strip() for path in sorted(components.rglob("*.js"))]
    ours += [html_language(language) for language in _HTML_LANGUAGES]
    theirs = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in ours + theirs]
