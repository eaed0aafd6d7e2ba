"""What to export and how: a checkpoint with its score, the steps, the precision and the file size."""

from collections.abc import Mapping

import streamlit as st

from core.chat.rates import Scores
from core.chat.score import best, of_checkpoints
from core.export.export import DTYPES, Form, Step, full, steps_of
from core.ground.figures import share, size
from core.training.checkpoint import Checkpoint
from core.training.run import Run
from pages.components.text import t

SHARD_SIZES = ("500MB", "1GB", "2GB", "5GB")


def checkpoint_line(name: str, count: int, scores: Scores | None, proposed: str | None) -> str:
    """Return a checkpoint as a list entry: its size, its scores if any, and whether it is recommended."""
    words = [name, size(count)]
    if scores:
        words += [
            f"{t(f'comparison.{rate}')} {share(scores.both(rate)[1])}"
            for rate in scores.rates
            if rate not in ("parrot", "leak")
        ]
    if name == proposed:
        words.append(t("export.best"))
    return " · ".join(words)


def choose_checkpoint(run: Run, checkpoints: Mapping[str, Checkpoint]) -> str:
    """Choose a checkpoint by name; the default is the best scored one, else the first."""
    scored = of_checkpoints(run)
    proposed = best(scored)
    return st.selectbox(
        t("export.checkpoint"),
        list(checkpoints),
        index=list(checkpoints).index(proposed) if proposed in checkpoints else 0,
        format_func=lambda name: checkpoint_line(name, checkpoints[name].bytes, scored.get(name), proposed),
        key=f"checkpoint-{run.id}",
        help=t("export.checkpoint_help"),
    )


def choose_steps(run: Run, *, live: bool, primary: bool) -> tuple[Step, ...] | None:
    """Draw the button for all steps and one for each; return the steps of the one clicked."""
    chosen: tuple[Step, ...] | None = None
    with st.container(horizontal=True):
        if st.button(
            t("export.all_full" if full(run) else "export.all"),
            type="primary" if primary else "secondary",
            icon=":material/deployed_code:",
            disabled=live,
            key="export-all",
        ):
            chosen = steps_of(run)
        for step in steps_of(run):
            if st.button(t(f"export.only_{step}"), key=f"export-{step}", disabled=live, type="tertiary"):
                chosen = (step,)
    return chosen


def choose_form() -> Form:
    """Choose precision and file size; by default those of the base model."""
    with st.expander(t("export.options"), icon=":material/tune:"):
        left, right = st.columns(2)
        kept = t("export.as_base")
        dtype = left.selectbox(
            t("export.dtype"),
            [None, *DTYPES],
            format_func=lambda d: d or kept,
            key="export_dtype",
            help=t("export.dtype_help"),
        )
        shards = right.selectbox(
            t("export.shards"),
            [None, *SHARD_SIZES],
            format_func=lambda s: s or kept,
            key="export_shards",
            help=t("export.shards_help"),
        )
    return Form.of(dtype, shards)
