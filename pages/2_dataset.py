"""From a nickname, a file or a book to the rows that the model learns from; and a look at what they will do."""

import streamlit as st

from core.data import dataset as datasets
from core.ground.errors import StudioError
from core.ground.figures import size
from core.models import model as models
from pages.components.choice import choose
from pages.components.contents import link_to
from pages.components.dataset.assistant_form import show_recipe_form
from pages.components.dataset.checks import show_checks
from pages.components.dataset.corpus import show_corpus_form
from pages.components.dataset.import_form import show_import_form
from pages.components.dataset.jobs import live_jobs, show_ended, show_live
from pages.components.dataset.row_editor import show_rows
from pages.components.dataset.statistics import show_statistics
from pages.components.dataset.token_view import show_tokens
from pages.components.dataset.versions import show_versions
from pages.components.frame import open_page
from pages.components.live import while_live
from pages.components.plain import plain
from pages.components.problems import show_refusal
from pages.components.text import t

workspace = open_page("dataset")

jobs = live_jobs(workspace)
if jobs:
    st.session_state["jobs_watched"] = True
    while_live(True, lambda: show_live(jobs))
show_ended(workspace)

recipe_tab, import_tab, corpus_tab = st.tabs(
    [t("dataset.tab_recipe"), t("dataset.tab_import"), t("dataset.tab_corpus")]
)
with recipe_tab:
    show_recipe_form(workspace)
with import_tab:
    show_import_form(workspace)
with corpus_tab:
    show_corpus_form(workspace)

st.divider()
found = {dataset.name: dataset for dataset in datasets.every(workspace)}
st.subheader(t("dataset.yours", count=len(found)), anchor=False)
if not found:
    st.info(t("dataset.none"), icon=":material/info:")
    st.stop()

dataset = found[choose("dataset", list(found))]
kind = dataset.made["kind"]
columns = st.columns(4)
columns[0].metric(t("dataset.rows"), f"{dataset.rows:,}", border=True, height="stretch")
columns[1].metric(t("dataset.unique"), f"{dataset.unique_rows:,}", border=True, height="stretch")
columns[2].metric(t("dataset.size"), size(dataset.data.stat().st_size), border=True, height="stretch")
columns[3].metric(
    t("dataset.source"),
    t(f"dataset.{dataset.made['recipe']}") if kind == "assistant" else t(f"versions.kind_{kind}"),
    border=True,
    height="stretch",
)
st.caption(f"SHA-256 {dataset.sha256} · {plain(str(dataset.data))}")

rows_tab, checks_tab, statistics_tab, tokens_tab, versions_tab = st.tabs(
    [t(f"dataset.tab_{name}") for name in ("rows", "checks", "statistics", "seen", "versions")]
)
with rows_tab:
    show_rows(workspace, dataset)
with checks_tab:
    show_checks(workspace, dataset)
usable, why = [], None
for model in models.every(workspace):
    try:
        usable.append(models.usable(workspace, model.name))
    except StudioError as error:
        why = error
with statistics_tab:
    if usable:
        by_name = {model.name: model for model in usable}
        chosen = by_name[st.selectbox(t("choice.model"), list(by_name), key="tokens_model", persist_state="session")]
        show_statistics(workspace, dataset, chosen)
    else:
        st.info(t("dataset.tokens_no_model"), icon=":material/info:")
        link_to("setup")
with tokens_tab:
    if usable:
        show_tokens(workspace, dataset, chosen)
    elif why:
        show_refusal(why)
    else:
        st.info(t("dataset.tokens_no_model"), icon=":material/info:")
with versions_tab:
    show_versions(workspace, dataset)

link_to("config", t("dataset.to_config"), ":material/arrow_forward:")
