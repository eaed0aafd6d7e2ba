"""From a nickname, a file or a book to the rows that the model learns from, and a preview of their effect."""

import streamlit as st

from core.data import dataset as datasets
from core.data.draft import Draft
from core.ground.errors import StudioError
from core.models import model as models
from core.models.model import Model
from pages.components.choice import choose
from pages.components.contents import link_to, show_outcome
from pages.components.dataset.assistant_form import show_recipe_form
from pages.components.dataset.checks import show_checks
from pages.components.dataset.conversation_rows import TABS
from pages.components.dataset.corpus import show_corpus_form
from pages.components.dataset.import_form import show_import_form, show_last_import
from pages.components.dataset.jobs import live_jobs, show_ended, show_live
from pages.components.dataset.row_editor import show_rows, show_unsaved
from pages.components.dataset.statistics import in_short, show_figures, show_statistics
from pages.components.dataset.token_view import show_tokens
from pages.components.dataset.versions import show_versions
from pages.components.frame import open_page
from pages.components.live import while_live
from pages.components.problems import show_refusal
from pages.components.text import t

workspace = open_page("dataset")

jobs = live_jobs(workspace)
if jobs:
    st.session_state["jobs_watched"] = True
    while_live(True, lambda: show_live(jobs))
show_ended(workspace)

found = {dataset.name: dataset for dataset in datasets.every(workspace)}
if found:
    dataset = found[choose("dataset", list(found))]
    # Unsaved edits have to be saved first.
    show_outcome(
        in_short(dataset), "config", t("dataset.to_config"), primary=not jobs and not Draft.open(workspace, dataset)
    )
first = not found and not jobs
# Three forms are most of the page: they are drawn once somebody opens them. The first dataset closes them.
key = "new_dataset" if found else "first_dataset"
lid = st.expander(t("dataset.new"), expanded=not found, icon=":material/add:", key=key, on_change="rerun")
if lid.open:
    recipe_tab, import_tab, corpus_tab = lid.tabs([t(f"dataset.tab_{way}") for way in ("recipe", "import", "corpus")])
    with recipe_tab:
        show_recipe_form(workspace, first=first)
    with import_tab:
        show_import_form(workspace, first=first)
    with corpus_tab:
        show_corpus_form(workspace, first=first)
show_last_import(workspace)
if not found:
    st.stop()


def choose_model() -> Model | None:
    """Choose the model whose tokens are counted and shown; without a usable one, draw why and return None."""
    usable, why = {}, None
    for model in models.every(workspace):
        try:
            usable[model.name] = models.usable(workspace, model.name)
        except StudioError as error:
            why = error
    if usable:
        return usable[st.selectbox(t("choice.model"), list(usable), key="tokens_model", persist_state="session")]
    if why:
        show_refusal(why)
    else:
        st.info(t("dataset.tokens_no_model"), icon=":material/info:")
    link_to("setup")
    return None


show_unsaved(workspace, dataset)
# Only the open one is drawn.
labels = [t(f"dataset.tab_{name}") for name in ("rows", "checks", "statistics", "seen", "versions")]
rows_tab, checks_tab, statistics_tab, tokens_tab, versions_tab = st.tabs(labels, key=TABS, on_change="rerun")
if rows_tab.open:
    with rows_tab:
        show_rows(workspace, dataset)
elif checks_tab.open:
    with checks_tab:
        show_checks(workspace, dataset)
elif statistics_tab.open:
    with statistics_tab:
        show_figures(dataset)
        if model := choose_model():
            show_statistics(workspace, dataset, model)
elif tokens_tab.open:
    with tokens_tab:
        if model := choose_model():
            show_tokens(workspace, dataset, model)
else:
    with versions_tab:
        show_versions(workspace, dataset)
