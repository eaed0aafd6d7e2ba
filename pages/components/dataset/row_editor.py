"""The rows of a dataset, page by page, and their editor: input is saved immediately and can be undone."""

from typing import Any

import streamlit as st

from core.data import versions
from core.data.dataset import Dataset
from core.data.draft import Draft
from core.data.edits import Part
from core.data.row import Row, problem, single
from core.ground.errors import StudioError
from core.ground.text import Text
from core.ground.workspace import Workspace
from pages.components.choice import select
from pages.components.dataset.conversation_rows import edit_row, row_name, show_as_chat, show_as_table
from pages.components.dataset.kept_form import forget, held, keep, place, restore
from pages.components.plain import DONE, plain
from pages.components.problems import refusals, show_refusal
from pages.components.text import say, t

ON_A_PAGE = 12
PARTS = ("all", "input", "output", "system")
# With more rows, operations that read all of them are not done at every click.
MOST_LOOKED_AT = 50_000
REPLACE, VERSION = "replace", "version"
USUAL = {"find_text": "", "put_text": "", "replace_part": "all", "replace_case": True}


def show_rows(workspace: Workspace, dataset: Dataset) -> None:
    """Draw the edited rows, the operations on them, and the row being edited."""
    restore(workspace, REPLACE, USUAL)
    draft = Draft.open(workspace, dataset)
    top = st.columns([3, 2], vertical_alignment="bottom")
    with top[0]:
        view = st.segmented_control(
            t("rows.view"),
            ("table", "chat"),
            default="table",
            format_func=lambda name: t(f"rows.view_{name}"),
            key="rows_view",
            required=True,
            label_visibility="collapsed",
            persist_state="session",
        )
    popover = top[1].popover(
        t("rows.replace"), icon=":material/find_replace:", width="stretch", key="replace_rows", on_change="rerun"
    )
    with popover:
        _replace_form(draft, counted=bool(popover.open))
    keep(workspace, REPLACE, list(USUAL))
    pages = max(1, -(-draft.rows // ON_A_PAGE))
    page = st.pagination(pages, key=f"rows-{dataset.name}", persist_state="session") if pages > 1 else 1
    rows = draft.page((page - 1) * ON_A_PAGE, ON_A_PAGE)
    if view == "table":
        show_as_table(rows, dataset.nickname)
    else:
        _chats(dataset, draft, rows)
    _choose_row(dataset, draft, rows)


def show_unsaved(workspace: Workspace, dataset: Dataset) -> None:
    """Draw what was edited, with undo and save; nothing if there are no edits."""
    draft = Draft.open(workspace, dataset)
    if not draft:
        return
    restore(workspace, VERSION, {"version_name": ""})
    told = versions.changes(draft)
    with st.container(border=True):
        st.markdown(f":material/edit: {t('rows.edited', count=len(draft), **told)}")
        columns = st.columns([3, 2, 2, 2], vertical_alignment="bottom")
        name = columns[0].text_input(
            t("rows.version_name"),
            held("version_name"),
            key="version_name",
            placeholder=t("rows.version_example"),
            persist_state="session",
        )
        keep(workspace, VERSION, ["version_name"])
        columns[1].button(
            t("rows.undo"), icon=":material/undo:", key="undo_edit", width="stretch", on_click=_anew, args=(draft.undo,)
        )
        with columns[2].popover(t("rows.discard"), icon=":material/delete_sweep:", width="stretch"):
            st.markdown(t("rows.discard_sure", count=len(draft)))
            st.button(t("rows.discard"), key="discard_edits", type="primary", on_click=_anew, args=(draft.discard,))
        if columns[3].button(
            t("rows.save"), icon=":material/save:", key="save_version", type="primary", width="stretch"
        ):
            with refusals():
                made = versions.save(workspace, draft, name.strip() or None)
                forget(workspace, VERSION, ["version_name"])
                select("dataset", made.name)
                st.toast(t("dataset.made", name=made.name, rows=made.rows), icon=DONE)
                st.rerun()
        for number, reason in _problems(draft, draft.stamp):
            st.warning(f"**{row_name(number)}** · {plain(say(reason))}", icon=":material/warning:")


@st.cache_data(max_entries=8, show_spinner=False)
def _problems(_draft: Draft, stamp: str) -> list[tuple[int, Text]]:  # noqa: ARG001
    """Return the first rows that cannot be trained on; for large datasets, all rows are only checked when saving."""
    return _draft.problems(5, everywhere=_draft.rows <= MOST_LOOKED_AT)


@st.cache_data(max_entries=32, show_spinner=False)
def _matches(_draft: Draft, stamp: str, find: str, part: Part, case: bool) -> int:  # noqa: ARG001
    return _draft.matches(find, part, case=case)


def _replace_form(draft: Draft, *, counted: bool) -> None:
    find = st.text_input(t("rows.find"), held("find_text"), key="find_text", persist_state="session")
    put = st.text_input(t("rows.put"), held("put_text"), key="put_text", persist_state="session")
    part = st.selectbox(
        t("rows.part"),
        PARTS,
        place("replace_part", PARTS),
        format_func=lambda name: t(f"rows.part_{name}"),
        key="replace_part",
        persist_state="session",
    )
    case = st.toggle(t("rows.case"), held("replace_case"), key="replace_case", persist_state="session")
    if (
        find
        and counted
        and (draft.rows <= MOST_LOOKED_AT or st.button(t("rows.count"), key="count_matches", icon=":material/search:"))
    ):
        with st.spinner(t("checks.looking"), show_time=True):
            count = _matches(draft, draft.stamp, find, part, case)
        st.caption(t("rows.matches", count=count))
    if st.button(t("rows.replace_all"), key="replace_all", icon=":material/find_replace:", disabled=not find):
        with refusals(), st.spinner(t("checks.looking"), show_time=True):
            st.toast(t("rows.replaced", count=draft.replace(find, put, part, case=case)))
            _anew()
            st.rerun()


def _chats(dataset: Dataset, draft: Draft, rows: list[tuple[int, Row]]) -> None:
    for number, row in rows:
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{t('rows.number')} {row_name(number)}**", width="content")
                st.button(
                    t("rows.edit"),
                    icon=":material/edit:",
                    type="tertiary",
                    key=f"edit-row-{number}",
                    on_click=edit_row,
                    args=(dataset, number),
                )
                st.button(
                    t("rows.delete"),
                    icon=":material/delete:",
                    type="tertiary",
                    key=f"delete-row-{number}",
                    on_click=_anew,
                    args=(draft.delete, [number]),
                )
            show_as_chat([row])


def _choose_row(dataset: Dataset, draft: Draft, rows: list[tuple[int, Row]]) -> None:
    """Choose one of the page's rows by number, or add one."""
    key = f"edited-{dataset.name}"
    numbers = [number for number, _ in rows]
    chosen = st.session_state.get(key)
    if chosen is not None and draft.place_of(chosen) is None:
        chosen = st.session_state[key] = None
    options = numbers if chosen is None or chosen in numbers else [*numbers, chosen]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            t("rows.choose"),
            options,
            index=None,
            format_func=row_name,
            key=key,
            placeholder=t("rows.choose_none"),
            persist_state="session",
            width=220,
        )
        st.button(t("rows.add"), icon=":material/add:", key="add_row", on_click=_add, args=(dataset, draft))
        for what, act, icon in (("clean", _clean, "cleaning_services"), ("strip", _strip, "content_cut")):
            st.button(
                t(f"rows.{what}"),
                icon=f":material/{icon}:",
                key=f"{what}_rows",
                help=t(f"rows.{what}_help"),
                on_click=act,
                args=(draft,),
            )
    if told := st.session_state.pop("cleaned", None):
        st.info(told, icon=":material/cleaning_services:")
    if chosen is not None:
        _edit(dataset, draft, chosen)


def _edit(dataset: Dataset, draft: Draft, number: int) -> None:
    """Draw the turns of a row with a field for each part; a change is saved when the field loses focus."""
    try:
        row = draft.row(number)
    except StudioError as error:
        show_refusal(error)
        return
    with st.container(border=True):
        st.markdown(f"**{t('rows.editing', number=row_name(number))}**")
        wrong = problem(row)
        if wrong:
            st.warning(plain(say(wrong)), icon=":material/warning:")
        for place, turn in enumerate(row["conversation"]):
            if place == 0 or turn.get("system"):
                _field(dataset, draft, number, place, "system", turn.get("system", ""), 68)
            left, right = st.columns(2)
            with left:
                _field(dataset, draft, number, place, "input", turn["input"], 120)
            with right:
                _field(dataset, draft, number, place, "output", turn["output"], 120)
        with st.container(horizontal=True):
            st.button(
                t("rows.add_turn"),
                icon=":material/add_comment:",
                key="add_turn",
                on_click=_turns,
                args=(draft, number, 1),
            )
            if len(row["conversation"]) > 1:
                st.button(
                    t("rows.drop_turn"),
                    icon=":material/remove:",
                    key="drop_turn",
                    on_click=_turns,
                    args=(draft, number, -1),
                )
            st.button(
                t("rows.delete"),
                icon=":material/delete:",
                key="delete_row",
                on_click=_anew,
                args=(draft.delete, [number]),
            )


def _field(dataset: Dataset, draft: Draft, number: int, place: int, part: str, text: str, height: int) -> None:
    # After an undo the fields get new keys, so that they show the data and not what was typed.
    key = f"row-{dataset.name}-{number}-{place}-{part}-{st.session_state.get('rows_round', 0)}"
    st.text_area(
        t(f"rows.field_{part}", turn=place + 1),
        text,
        key=key,
        height=height,
        on_change=_typed,
        args=(draft, number, place, part, key),
    )


def _typed(draft: Draft, number: int, place: int, part: str, key: str) -> None:
    text = st.session_state[key]

    def with_text(row: Row) -> Row:
        turns = [dict(turn) for turn in row["conversation"]]
        # Another tab may have removed turns in the meantime: what was typed must not be lost.
        turns += [{"input": "", "output": ""} for _ in range(place + 1 - len(turns))]
        if part == "system" and not text:
            turns[place].pop("system", None)
        else:
            turns[place] = {**({"system": text} if part == "system" else {}), **turns[place], part: text}
        return {"conversation": turns}

    with refusals():
        draft.change(number, with_text)


def _turns(draft: Draft, number: int, change: int) -> None:
    def changed(row: Row) -> Row:
        turns: list[Any] = list(row["conversation"])
        return {"conversation": [*turns, {"input": "", "output": ""}] if change > 0 else turns[:-1] or turns}

    with refusals():
        draft.change(number, changed)


def _add(dataset: Dataset, draft: Draft) -> None:
    edit_row(dataset, draft.add(single("", "")))


def _clean(draft: Draft) -> None:
    marked, repeats = draft.clean()
    st.session_state["cleaned"] = t("rows.cleaned", marked=marked, repeats=repeats)
    _anew()


def _strip(draft: Draft) -> None:
    st.session_state["cleaned"] = t("rows.stripped", count=draft.strip())
    _anew()


def _anew(change: Any = None, *arguments: Any) -> None:
    """Make a change after which the fields are redrawn from the data."""
    if change:
        change(*arguments)
    st.session_state["rows_round"] = st.session_state.get("rows_round", 0) + 1
