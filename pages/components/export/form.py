"""What to export and how: a checkpoint with its score, the precision and the size of the files."""

import streamlit as st

from core.chat.rates import Scores
from core.export.export import DTYPES, Form
from core.ground.figures import share, size
from pages.components.text import t

SHARD_SIZES = ("500MB", "1GB", "2GB", "5GB")


def checkpoint_line(name: str, count: int, scores: Scores | None, proposed: str | None) -> str:
    """A checkpoint in a list: its size, its scores if it has any, and whether it is the one to take."""
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


def choose_form() -> Form:
    """The precision and the size of files; as the base model has them unless chosen."""
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
