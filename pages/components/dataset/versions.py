"""How a dataset was created, its earlier versions, recreating it, and holding out a part for scoring."""

import streamlit as st

from core.data import split, versions
from core.data.dataset import Dataset
from core.ground.workspace import Workspace
from pages.components.choice import select
from pages.components.plain import DONE, plain
from pages.components.problems import refusals
from pages.components.text import t


def show_versions(workspace: Workspace, dataset: Dataset) -> None:
    """Draw the versions, the record of the dataset's creation, and the actions."""
    line = versions.lineage(workspace, dataset)
    if len(line) > 1:
        st.table(
            [
                {
                    t("versions.version"): str(version.version),
                    t("versions.name"): plain(version.name),
                    t("dataset.rows"): f"{version.rows:,}",
                    t("versions.changes"): _changes(version),
                }
                for version in line
            ],
            hide_index=True,
            border="horizontal",
        )
    st.markdown(f"**{t('versions.made')}**")
    st.json(versions.told(dataset), expanded=1)
    st.caption(t("versions.immutable"))
    left, right = st.columns(2)
    with left.container(border=True, height="stretch"):
        st.markdown(f"**{t('versions.again')}**")
        st.caption(t("versions.again_help"))
        if st.button(t("versions.again_start"), key="remake", icon=":material/replay:"):
            with refusals(), st.spinner(t("versions.working"), show_time=True):
                made, same = versions.remake(workspace, dataset)
                if same:
                    st.success(t("versions.same", name=plain(made.name)), icon=":material/fingerprint:")
                else:
                    st.warning(t("versions.differs", name=plain(made.name)), icon=":material/fingerprint:")
    with right.container(border=True, height="stretch"):
        st.markdown(f"**{t('versions.split')}**")
        st.caption(t("versions.split_help"))
        percent = st.slider(
            t("versions.share"), 5, 50, 10, 5, format="%d%%", key="split_share", persist_state="session"
        )
        if st.button(t("versions.split_start"), key="split", icon=":material/call_split:"):
            with refusals():
                train, held_out = split.split(workspace, dataset, percent / 100)
                select("dataset", train.name)
                st.toast(t("versions.split_done", train=train.rows, held_out=held_out.rows), icon=DONE)
                st.rerun()


def _changes(version: Dataset) -> str:
    told = version.made.get("changes")
    if told is None:
        return t(f"versions.kind_{version.made['kind']}")
    return t("rows.changes", **told)
