"""The texts of the pages in the user's language: `t("train.title")` from the locales, `say(text)` for core's messages.

Chinese unless the user chose English; the choice is in the URL (`?lang=en`) and carries over between pages.
"""

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from core.ground.text import Language, Text

LOCALES = Path(__file__).parents[1] / "locales"
LANGUAGES: dict[Language, str] = {"zh": "中文", "en": "English"}
_KEY = "language"


def language() -> Language:
    """The language to draw in."""
    chosen = st.session_state.get(_KEY)
    if chosen is None:
        chosen = st.session_state[_KEY] = "en" if st.query_params.get("lang") == "en" else "zh"
    return chosen


def language_switch() -> None:
    """The two languages side by side; keeps the choice in the URL."""
    st.segmented_control(
        "语言 / Language",
        list(LANGUAGES),
        default=language(),
        format_func=LANGUAGES.get,
        key="language_switch",
        on_change=_take_choice,
        required=True,
        label_visibility="collapsed",
    )
    if language() == "en":
        st.query_params["lang"] = "en"
    elif "lang" in st.query_params:
        del st.query_params["lang"]


def _take_choice() -> None:
    # Stored under a key that belongs to no widget, so that it survives a change of page.
    st.session_state[_KEY] = st.session_state["language_switch"] or language()


def t(key: str, **values: Any) -> str:
    """The text `key` of the locales with `values` filled in."""
    text = catalogue(language())[key]
    return text.format(**values) if values else text


def both(key: str, **values: Any) -> Text:
    """The text `key` in both languages, for use where no page has set the language yet."""
    return Text(catalogue("zh")[key].format(**values), catalogue("en")[key].format(**values))


def inside(words: str) -> str:
    """Return text as it continues after a colon: in English without the initial capital."""
    return words[:1].lower() + words[1:] if language() == "en" else words


def sentence(words: str) -> str:
    """Return text as it begins a line: in English with a capital."""
    return words[:1].upper() + words[1:]


def say(text: Text | None) -> str:
    """A message from core in the user's language; empty for None."""
    return text.in_(language()) if text else ""


@cache
def catalogue(chosen: Language) -> dict[str, str]:
    """All texts of a language by dotted key: one file per page, shared texts in `frame.toml`."""
    files = sorted((LOCALES / chosen).glob("*.toml"))
    return {key: text for file in files for key, text in _flat(tomllib.loads(file.read_text(encoding="utf-8")))}


def _flat(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield before + key, value.strip()
