"""Before and after: answers of the base model and the fine-tuned one side by side, and the scores."""

from collections.abc import Sequence

import streamlit as st

from core.chat.answered import asked_as
from core.chat.diagnosis import diagnose
from core.chat.rates import Perplexity, Scores
from core.ground.figures import share
from core.training.record import Run
from pages.components.plain import plain
from pages.components.text import language, say, sentence, t


def show_answers(rows: Sequence[tuple[str, str, str]], nickname: str | None) -> None:
    """Draw a table of question, answer before and answer after, with the nickname highlighted."""
    st.table(
        [
            {
                t("comparison.question"): plain(question),
                t("comparison.before"): plain(before, nickname),
                t("comparison.after"): plain(after, nickname),
            }
            for question, before, after in rows
        ],
        hide_index=True,
        border="horizontal",
    )


def show_scores(scores: Scores, run: Run) -> None:
    """Draw the scores before and after, and their interpretation."""
    columns = st.columns(len(scores.rates) + bool(scores.perplexity))
    for column, name in zip(columns, scores.rates, strict=False):
        before, after = scores.both(name)
        with column:
            st.metric(
                t(f"comparison.{name}"),
                share(after),
                t("comparison.was", value=share(before)),
                delta_color="off",
                delta_arrow="off",
                help=t(f"comparison.{name}_help"),
                border=True,
                height="stretch",
            )
            low, high = scores.intervals[name]
            st.caption(t("comparison.interval", count=scores.counts[name], low=share(low), high=share(high)))
    if scores.perplexity:
        with columns[-1]:
            _show_perplexity(scores.perplexity)
    if scores.knows and scores.facts["kept"] is None:
        st.caption(t("comparison.too_little", count=scores.facts["base_right"]))
    if len(scores.by_language) > 1:
        shares = ("、" if language() == "zh" else ", ").join(
            f"{t(f'comparison.in_{name}')} {share(both['tuned'])}" for name, both in scores.by_language.items()
        )
        st.caption(t("comparison.languages", shares=shares))
    found = diagnose(scores, run)
    box, icon = (st.success, "check_circle") if found.verdict == "learned" else (st.warning, "lightbulb")
    advice = f"  \n{t('comparison.advice', what=say(found.advice))}" if found.advice else ""
    box(f"**{sentence(say(found.words))}**{advice}", icon=f":material/{icon}:")


def _show_perplexity(found: Perplexity) -> None:
    """Draw the perplexity of a corpus's held-out pieces: a number, not a share."""
    st.metric(
        t("comparison.perplexity"),
        f"{found.tuned:.1f}",
        t("comparison.was", value=f"{found.base:.1f}"),
        delta_color="off",
        delta_arrow="off",
        help=t("comparison.perplexity_help"),
        border=True,
        height="stretch",
    )
    low, high = found.interval
    st.caption(t("comparison.pieces", count=found.pieces, low=f"{low:.1f}", high=f"{high:.1f}"))


def show_score_answers(scores: Scores, nickname: str | None) -> None:
    """Draw every question of the score with both answers."""
    with st.expander(t("comparison.all", count=len(scores.questions)), icon=":material/table_rows:"):
        show_answers([(asked_as(q), q.base, q.tuned) for q in scores.questions], nickname)
