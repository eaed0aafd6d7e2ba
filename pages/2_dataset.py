"""From a nickname, or a file, to the conversations that the model learns from; and a look at those that are there."""

import streamlit as st

from core.data import dataset as datasets
from core.data import statistics
from core.data.dataset import Dataset
from core.data.messages import Row
from core.engine import model as models
from core.ground.problem import Problem
from pages.components.choice import choose
from pages.components.contents import link_to
from pages.components.conversation_rows import show_as_table
from pages.components.dataset_forms import show_import_form, show_recipe_form
from pages.components.figures import size
from pages.components.frame import open_page
from pages.components.problems import refusals, show_problems
from pages.components.text import t


@st.cache_resource(max_entries=2, show_spinner=False)
def content(_dataset: Dataset, sha256: str) -> tuple[list[Row], list[Problem]]:  # noqa: ARG001
    """The rows of a dataset and their problems, read once for its content."""
    return _dataset.load(), datasets.check(_dataset)


workspace = open_page("dataset")

recipe_tab, import_tab = st.tabs([t("dataset.tab_recipe"), t("dataset.tab_import")])
with recipe_tab:
    show_recipe_form(workspace)
with import_tab:
    show_import_form(workspace)

st.divider()
found = {dataset.name: dataset for dataset in datasets.every(workspace)}
st.subheader(t("dataset.yours", count=len(found)), anchor=False)
if not found:
    st.info(t("dataset.none"), icon=":material/info:")
    st.stop()

dataset = found[choose("dataset", list(found))]
rows, problems = content(dataset, dataset.sha256)
columns = st.columns(4)
columns[0].metric(t("dataset.rows"), f"{dataset.rows:,}", border=True, height="stretch")
columns[1].metric(t("dataset.unique"), f"{dataset.unique_rows:,}", border=True, height="stretch")
columns[2].metric(t("dataset.size"), size(dataset.data.stat().st_size), border=True, height="stretch")
columns[3].metric(
    t("dataset.source"),
    t(f"dataset.{dataset.made['recipe']}") if dataset.made["kind"] == "assistant" else t("dataset.tab_import"),
    border=True,
    height="stretch",
)
st.caption(f"SHA-256 `{dataset.sha256}`")

rows_tab, checks_tab, tokens_tab = st.tabs([t("dataset.tab_rows"), t("dataset.tab_checks"), t("dataset.tab_tokens")])
with rows_tab:
    show_as_table(rows, f"rows-{dataset.name}", dataset.nickname)
with checks_tab:
    show_problems(problems)
with tokens_tab:
    st.caption(t("dataset.tokens_intro"))
    whole = [model.name for model in models.every(workspace) if model.whole]
    if not whole:
        st.info(t("dataset.tokens_no_model"), icon=":material/info:")
        link_to("setup")
    else:
        model_name = st.selectbox(t("choice.model"), whole, key="tokens_model")
        if st.button(t("dataset.tokens_count"), icon=":material/calculate:", key="count_tokens"):
            with refusals(), st.spinner(t("dataset.tokens_running"), show_time=True):
                found = statistics.count(workspace, dataset, models.usable(workspace, model_name))
                tokens = found.to_json()
                for column, name in zip(st.columns(4), ("total", "p50", "p95", "max"), strict=True):
                    column.metric(t(f"dataset.tokens_{name}"), f"{tokens[name]:,}", border=True, height="stretch")

link_to("config", t("dataset.to_config"), ":material/arrow_forward:")
