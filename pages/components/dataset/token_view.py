"""A row as used in training, token by token: trained tokens are colored and underlined, the others gray."""

import re

import streamlit as st

from core.data import rendering, statistics
from core.data.dataset import Dataset
from core.data.rendering import Rendering
from core.engine.presets import prompt_templates
from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from core.models.model import Model
from pages.components.problems import show_problems, show_refusal
from pages.components.text import t

# Rows rendered together, since starting the tokenizer takes longer than rendering all of them.
BLOCK = 200
MOST_SHOWN = 1500
OWN = "own"
# Streamlit's own green and gray are hardly distinguishable.
_STYLE = """<style>
.st-key-tokens em {
    font-style: normal; background: color-mix(in srgb, #3aa17e 30%, transparent);
    text-decoration: underline 2px #3aa17e; text-underline-offset: 4px;
}
</style>"""
_MARKS = re.compile(r"([!-/:-@\[-`{-~])")


def show_tokens(workspace: Workspace, dataset: Dataset, model: Model) -> None:
    """Draw the choice of row and template, and the row's tokens."""
    st.caption(t("tokens.intro"))
    usual = statistics.template_of(model, statistics.is_text(dataset))
    templates = {OWN: usual, "": None, **prompt_templates()} if usual else {"": None, **prompt_templates()}
    left, middle, right = st.columns([1, 2, 2], vertical_alignment="bottom")
    number = left.number_input(
        t("tokens.row"), 1, dataset.rows, key=f"token_row-{dataset.name}", persist_state="session"
    )
    words = {OWN: t("tokens.template_own", name=usual.name or "") if usual else "", "": t("tokens.template_none")}
    template = middle.selectbox(
        t("tokens.template"),
        list(templates),
        format_func=lambda name: words.get(name, name),
        key=f"token_template-{dataset.name}-{model.name}",
        persist_state="session",
    )
    system = right.text_input(
        t("tokens.system"), key="token_system", help=t("tokens.system_help"), persist_state="session"
    )
    shown_key = f"tokens_shown-{dataset.sha256}-{model.name}"
    if st.button(t("tokens.show"), icon=":material/visibility:", key="show_tokens"):
        st.session_state[shown_key] = True
    if not st.session_state.get(shown_key):
        return
    first = (number - 1) // BLOCK * BLOCK
    rows = dataset.page(first, min(BLOCK, dataset.rows - first))
    # For the few datasets with long rows: a page's memory cannot hold a block of them.
    if sum(len(turn["output"]) for row in rows for turn in row["conversation"]) > 400_000:
        first, rows = number - 1, rows[number - 1 - first :][:1]
    try:
        with st.spinner(t("tokens.working"), show_time=True):
            shown = rendering.render(workspace, model, rows, templates[template], system=system)[number - 1 - first]
    except StudioError as error:
        show_refusal(error)
        return
    _draw(shown)


def _draw(shown: Rendering) -> None:
    st.markdown(t("tokens.count", length=f"{len(shown.tokens):,}", trained=f"{shown.trained:,}"))
    with st.container(border=True, key="tokens"):
        st.html(_STYLE)
        st.markdown("".join(_token(token.text, token.trained) for token in shown.tokens[:MOST_SHOWN]))
    if len(shown.tokens) > MOST_SHOWN:
        st.caption(t("tokens.more", count=len(shown.tokens) - MOST_SHOWN))
    if shown.problems:
        show_problems(shown.problems)
    else:
        st.success(t("tokens.fine"), icon=":material/check_circle:")
    with st.expander(t("tokens.numbers"), icon=":material/tag:"):
        st.code(" ".join(f"{token.id}" for token in shown.tokens[:MOST_SHOWN]), language=None, wrap_lines=True)


def _token(text: str, trained: bool) -> str:
    """Return a token as a badge; invisible characters are shown as symbols."""
    seen = text.replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣") if text else "·"
    escaped = _MARKS.sub(r"\\\1", seen)
    badge = f":green-background[*{escaped}*] " if trained else f":gray-background[{escaped}] "
    return badge + ("\n\n" if "\n" in text else "")
