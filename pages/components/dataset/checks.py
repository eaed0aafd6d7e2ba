"""The findings of the checks, each with a link to its row, and the rows of a file that were not usable."""

import json
from typing import Any

import streamlit as st

from core.data import dataset as datasets
from core.data import intake
from core.data.checks import Finding
from core.data.dataset import Dataset
from core.data.draft import Draft
from core.data.row import single
from core.ground.workspace import Workspace
from pages.components.dataset.conversation_rows import ways_to_rows
from pages.components.dataset.kept_form import held, keep, restore
from pages.components.plain import plain
from pages.components.problems import show_problems
from pages.components.text import say, t

# Larger datasets are checked when created, and again only on request.
MOST_AT_ONCE = 50_000
ON_A_PAGE = 5


@st.cache_data(max_entries=8, show_spinner=False)
def found_in(_dataset: Dataset, sha256: str) -> list[Finding]:  # noqa: ARG001
    """Return the findings of a dataset, cached by its content."""
    return datasets.check(_dataset)


def show_checks(workspace: Workspace, dataset: Dataset) -> None:
    """Draw the findings, then what was skipped when importing."""
    skipped, kept = intake.stored_report(dataset)
    if kept is not None:
        problems = kept
    elif dataset.rows <= MOST_AT_ONCE or st.button(t("checks.look"), key="check_now", icon=":material/search:"):
        with st.spinner(t("checks.looking"), show_time=True):
            problems = found_in(dataset, dataset.sha256)
    else:
        st.info(t("checks.large"), icon=":material/info:")
        problems = None
    if problems is not None:
        show_problems(problems)
        rows = list(dict.fromkeys(found.row for found in problems if found.row))[:8]
        if rows:
            ways_to_rows(dataset, {row: t("problems.row", number=row) for row in rows}, "go")
    if skipped and dataset.made["kind"] == "import":
        _show_skipped(workspace, dataset, skipped)
    elif skipped:
        st.header(t("checks.not_read", count=len(skipped)), anchor=False)
        for left in skipped[:20]:
            st.markdown(f"- {plain(left.get('text', ''))}：{plain(say(left['reason']))}")


def _show_skipped(workspace: Workspace, dataset: Dataset, skipped: list[dict[str, Any]]) -> None:
    """Draw each skipped row: its reason, its text, and fields to correct it."""
    st.header(t("checks.skipped", count=dataset.made["skipped"]), anchor=False)
    st.caption(t("checks.skipped_help"))
    pages = -(-len(skipped) // ON_A_PAGE)
    page = st.pagination(pages, key=f"skipped-{dataset.name}") if pages > 1 else 1
    shown = skipped[(page - 1) * ON_A_PAGE : page * ON_A_PAGE]
    form = f"mend-{dataset.name}-{dataset.sha256[:8]}-{page}"
    usual = {}
    for left in shown:
        key = f"{dataset.name}-{left['row']}"
        usual[f"mend-q-{key}"], usual[f"mend-a-{key}"] = _guess(left.get("text", ""))
    restore(workspace, form, usual)
    for left in shown:
        number = left["row"]
        with st.expander(f"{t('problems.row', number=number)} · {plain(say(left['reason']))}"):
            if left.get("text"):
                st.code(left["text"], language=None, wrap_lines=True)
            key = f"{dataset.name}-{number}"
            asked, answered = (
                st.text_area(t(f"rows.{part}"), held(field), key=field, height=80, persist_state="session")
                for part, field in (("question", f"mend-q-{key}"), ("answer", f"mend-a-{key}"))
            )
            if st.button(t("checks.mend"), key=f"mend-{key}", icon=":material/add:", disabled=not answered.strip()):
                Draft.open(workspace, dataset).add(single(asked, answered))
                st.toast(t("checks.mended"))
                st.rerun()
    keep(workspace, form, list(usual))


def _guess(text: str) -> tuple[str, str]:
    """Return two texts of a record that may be its question and answer."""
    try:
        value = json.loads(text)
    except ValueError:
        return text[:2000], ""
    found: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            for key, held in value.items():
                if key not in ("from", "role", "id", "type"):
                    collect(held)
        elif isinstance(value, list):
            for held in value:
                collect(held)

    collect(value)
    return (found[0] if found else ""), (found[1] if len(found) > 1 else "")
