"""Manages the selected run: rename it, move it to the trash, restore it, empty the trash."""

import time
from collections.abc import Callable

import streamlit as st

from core.ground.errors import StudioError
from core.ground.figures import duration, size
from core.ground.workspace import Workspace
from core.jobs.job import jobs_in
from core.training import shelf
from core.training.run import Run
from core.training.shelf import MOST_CHARACTERS, Deleted
from pages.components.choice import select
from pages.components.plain import plain
from pages.components.problems import show_refusal
from pages.components.text import say, t

_REFUSED, _DELETED = "shelf_refused", "shelf_deleted"


def show_undo(workspace: Workspace) -> None:
    """Draw what was just deleted, with an undo button; and why something was refused."""
    if refused := st.session_state.pop(_REFUSED, None):
        show_refusal(refused)
    deleted: Deleted | None = st.session_state.get(_DELETED)
    if deleted is None or not deleted.path.exists():
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        st.markdown(t("shelf.deleted", name=plain(deleted.name)), width="stretch")
        st.button(
            t("shelf.undo"), icon=":material/undo:", key="undo_delete", on_click=_restore, args=(workspace, deleted)
        )
        st.button(t("shelf.dismiss"), icon=":material/close:", key="undo_dismiss", on_click=_forget)


def show_shelf(workspace: Workspace, run: Run) -> None:
    """Draw a popover to rename `run` or move it to the trash."""
    live = any(job.status().live for job in jobs_in(run.jobs))
    with st.popover(t("shelf.manage"), icon=":material/edit:", type="tertiary"):
        with st.form(f"rename-{run.id}", border=False, enter_to_submit=False):
            st.text_input(
                t("shelf.name"),
                value=shelf.name_of(run) if shelf.name_of(run) != run.id else "",
                placeholder=run.id,
                max_chars=MOST_CHARACTERS,
                key=f"run_name-{run.id}",
                help=t("shelf.name_help"),
            )
            st.form_submit_button(t("shelf.rename"), icon=":material/check:", on_click=_rename, args=(run,))
        st.button(
            t("shelf.delete"),
            icon=":material/delete:",
            key=f"delete-{run.id}",
            disabled=live,
            help=t("shelf.live") if live else t("shelf.delete_help"),
            on_click=_delete,
            args=(workspace, run),
        )


def show_trash(workspace: Workspace) -> None:
    """Draw the trash with the space it takes, to restore runs or delete them permanently."""
    found = shelf.trash(workspace)
    st.markdown(f"**{t('shelf.trash')}**")
    if not found:
        st.caption(t("shelf.trash_empty"))
        return
    st.caption(t("shelf.trash_holds", count=len(found), size=size(sum(deleted.bytes for deleted in found))))
    for deleted in found:
        with st.container(horizontal=True, vertical_alignment="center"):
            ago = say(duration(time.time() - deleted.when))
            words = t("shelf.in_trash", name=plain(deleted.name), size=size(deleted.bytes), ago=ago)
            st.markdown(words, width="stretch")
            st.button(
                t("shelf.restore"),
                icon=":material/restore_from_trash:",
                key=f"restore-{deleted.id}",
                on_click=_restore,
                args=(workspace, deleted),
            )
    with st.popover(t("shelf.empty"), icon=":material/delete_forever:"):
        st.markdown(t("shelf.empty_sure", count=len(found), size=size(sum(deleted.bytes for deleted in found))))
        st.button(t("shelf.empty_yes"), key="empty_trash", on_click=_empty, args=(workspace,))


def _refusing(work: Callable[[], None]) -> None:
    try:
        work()
    except StudioError as error:
        st.session_state[_REFUSED] = error


def _rename(run: Run) -> None:
    name = st.session_state[f"run_name-{run.id}"]
    _refusing(lambda: shelf.rename(run, name) and None)


def _delete(workspace: Workspace, run: Run) -> None:
    def work() -> None:
        st.session_state[_DELETED] = shelf.delete(workspace, run)

    _refusing(work)


def _restore(workspace: Workspace, deleted: Deleted) -> None:
    def work() -> None:
        select("run", shelf.restore(workspace, deleted.id).id)
        _forget()

    _refusing(work)


def _empty(workspace: Workspace) -> None:
    _refusing(lambda: shelf.empty(workspace) and None)


def _forget() -> None:
    st.session_state.pop(_DELETED, None)
