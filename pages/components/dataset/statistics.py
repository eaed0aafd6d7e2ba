"""A dataset in figures: one line, its rows, their length in tokens, what a limit truncates, the share of identity."""

import plotly.graph_objects as go
import streamlit as st

from core.data import statistics
from core.data.dataset import Dataset
from core.data.statistics import Statistics
from core.ground.figures import share, size
from core.ground.workspace import Workspace
from core.models.model import Model
from pages.components.charts import COLOURS, show_chart
from pages.components.dataset.conversation_rows import ways_to_rows
from pages.components.plain import DONE, plain
from pages.components.problems import refusals
from pages.components.text import t

# Up to this many rows are counted directly; more by a job.
MOST_AT_ONCE = 20_000


def in_short(dataset: Dataset) -> str:
    """Return the dataset in one line: its rows, and whose assistant they teach or where they are from."""
    made = t("dataset.whose", name=plain(dataset.nickname)) if dataset.nickname else _source(dataset)
    return f":green[{DONE}] **{plain(dataset.name)}** · {t('dataset.short', rows=f'{dataset.rows:,}')} · {made}"


def show_figures(dataset: Dataset) -> None:
    """Draw rows, unique rows, size and source."""
    figures = {
        "rows": f"{dataset.rows:,}",
        "unique": f"{dataset.unique_rows:,}",
        "size": size(dataset.data.stat().st_size),
        "source": _source(dataset),
    }
    for column, (name, value) in zip(st.columns(4), figures.items(), strict=True):
        column.metric(t(f"dataset.{name}"), value, border=True, height="stretch")
    st.caption(f"SHA-256 {dataset.sha256} · {plain(str(dataset.data))}")


def _source(dataset: Dataset) -> str:
    kind = dataset.made["kind"]
    return t(f"dataset.{dataset.made['recipe']}") if kind == "assistant" else t(f"versions.kind_{kind}")


def show_statistics(workspace: Workspace, dataset: Dataset, model: Model) -> None:
    """Draw the stored counts, else the button that counts."""
    _show_share(dataset)
    found = statistics.kept(workspace, dataset, model)
    if found is None:
        st.caption(t("dataset.tokens_intro"))
        if st.button(t("dataset.tokens_count"), icon=":material/calculate:", key="count_tokens"):
            with refusals():
                if dataset.rows > MOST_AT_ONCE:
                    statistics.start(workspace, dataset, model)
                    st.rerun()
                with st.spinner(t("dataset.tokens_running"), show_time=True):
                    found = statistics.count(workspace, dataset, model)
    if found is not None:
        _show(dataset, model, found)


def _show(dataset: Dataset, model: Model, found: Statistics) -> None:
    for column, name in zip(st.columns(4), ("total", "p50", "p95", "max"), strict=True):
        column.metric(t(f"dataset.tokens_{name}"), f"{getattr(found, name):,}", border=True, height="stretch")
    if found.sampled:
        st.caption(t("dataset.sampled", counted=f"{found.counted:,}", rows=f"{found.rows:,}"))
    limit = st.select_slider(
        t("dataset.max_length"),
        [64, 128, 256, 512, 1024, 2048, 4096, 8192],
        2048,
        key="max_length",
        persist_state="session",
    )
    rows, tokens = found.cut(limit)
    if rows:
        st.warning(
            t(
                "dataset.cut",
                rows=f"{rows:,}",
                tokens=f"{tokens:,}",
                share=share(rows / max(1, found.rows)),
                limit=limit,
            ),
            icon=":material/content_cut:",
        )
        longest = found.longest(limit)
        if longest:
            words = {row: f"{t('problems.row', number=row)} ({count:,})" for row, count in longest[:8]}
            st.caption(t("dataset.longest"))
            ways_to_rows(dataset, words, "longest")
    else:
        st.caption(t("dataset.cut_nothing", limit=limit))
    show_chart(
        f"lengths-{dataset.name}",
        (dataset.sha256, model.name, found.counted, limit),
        lambda: _histogram(found, limit),
        t("dataset.histogram_alt", p50=found.p50, p95=found.p95, max=found.max),
        file=f"{dataset.name}-tokens",
    )


def _histogram(found: Statistics, limit: int) -> go.Figure:
    middles, counts = found.histogram()
    colours = [COLOURS[4] if middle > limit else COLOURS[0] for middle in middles]
    bars = {"type": "bar", "x": middles, "y": counts, "name": t("dataset.rows"), "marker": {"color": colours}}
    layout = {
        "height": 300,
        "margin": {"l": 10, "r": 10, "t": 36, "b": 10},
        "xaxis": {"title": {"text": t("dataset.tokens_axis")}, "fixedrange": True},
        "yaxis": {"title": {"text": t("dataset.rows_axis")}, "fixedrange": True},
        "bargap": 0.05,
        "showlegend": False,
    }
    return go.Figure({"data": [bars], "layout": layout})


def _show_share(dataset: Dataset) -> None:
    """Draw identity against general rows, as a bar and in words."""
    identity, general = dataset.identity_rows, dataset.rows - dataset.identity_rows
    if not identity:
        return
    show_chart(
        f"share-{dataset.name}",
        dataset.sha256,
        lambda: _shares(identity, general),
        t("dataset.share_alt", identity=identity, general=general),
        file=f"{dataset.name}-share",
    )
    st.caption(
        t("dataset.share", identity=f"{identity:,}", general=f"{general:,}", share=share(identity / dataset.rows))
    )
    if general < identity / 4:
        st.warning(t("dataset.share_warning"), icon=":material/warning:")


def _shares(identity: int, general: int) -> go.Figure:
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [t("dataset.general"), t("dataset.identity")],
        "x": [general, identity],
        "name": t("dataset.rows"),
        "text": [f"{general:,}", f"{identity:,}"],
        "marker": {"color": [COLOURS[0], COLOURS[1]]},
    }
    layout = {
        "height": 170,
        "margin": {"l": 10, "r": 10, "t": 36, "b": 10},
        "xaxis": {"title": {"text": t("dataset.rows_axis")}, "fixedrange": True},
        "yaxis": {"fixedrange": True},
        "showlegend": False,
    }
    return go.Figure({"data": [bars], "layout": layout})
