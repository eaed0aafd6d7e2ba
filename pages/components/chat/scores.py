"""The scores of a run: start scoring, show them over the checkpoints next to the loss, and suggest what to do next."""

from collections.abc import Mapping

import streamlit as st

from core import teaching
from core.chat import scoring
from core.chat.asked import Extent
from core.chat.diagnosis import changed_settings, diagnose, next_config, takes_other_data
from core.chat.rates import Scores
from core.chat.score import best, of_checkpoints, stored
from core.chat.side import tuned_side
from core.export import export
from core.ground.errors import StudioError
from core.ground.figures import duration
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, latest_job
from core.models import model as models
from core.training.run import Run
from pages.components.charts import Line, Panel, show_chart, stacked
from pages.components.choice import select
from pages.components.comparison import show_score_answers, show_scores
from pages.components.contents import link_to
from pages.components.problems import refusals, show_end, show_refusal
from pages.components.text import language, say, t

# Color, marker and its size. Identity and retention often coincide: one marker is visible within the other.
MARKS = {
    "identity": ("#3f7fe0", "circle", 7),
    "retention": ("#3aa17e", "diamond-open", 14),
    "facts": ("#3aa17e", "diamond-open", 14),
    "manner": ("#8a63d2", "square-open", 12),
    "parrot": ("#e08a3c", "x", 8),
    "leak": ("#c2453d", "cross", 8),
    "held_out": ("#a66bd4", "square", 7),
    "cloze": ("#3f7fe0", "circle", 7),
    "cloze_apart": ("#a66bd4", "square", 7),
}


_REFUSED = "score_refused"


def scoring_job(run: Run) -> Job | None:
    """Return the scoring in progress, if any."""
    job = latest_job(run.jobs, "score")
    return job if job and job.status().live else None


def start_scoring(workspace: Workspace, run: Run, *, every: bool = False, extent: Extent = "full") -> None:
    """Start scoring and open its tab, which shows the progress and then the result."""
    st.session_state["chat_tab"] = t("chat.tab_score")
    try:
        scoring.start(workspace, run, every=every, extent=extent, language=language())
    except StudioError as error:
        st.session_state[_REFUSED] = error


def show_scoring(workspace: Workspace, run: Run, job: Job | None, *, primary: bool) -> None:
    """Draw the buttons that start scoring, or why the last attempt failed; `primary`: it is the page's next step."""
    st.caption(f"{t('chat.score_intro')} {_durations(workspace, run)}")
    many = len([found for found in run.checkpoints() if found.whole])
    clicked = {"on_click": start_scoring, "args": (workspace, run), "disabled": bool(job)}
    with st.container(horizontal=True):
        kind = "primary" if primary else "secondary"
        st.button(t("chat.score"), icon=":material/grading:", type=kind, key="score", **clicked)
        st.button(
            t("chat.score_quick"), icon=":material/bolt:", key="score-quick", kwargs={"extent": "quick"}, **clicked
        )
        if many > 1 and not export.full(run):
            label = t("chat.score_all", count=many)
            st.button(label, icon=":material/stacked_line_chart:", key="score-all", kwargs={"every": True}, **clicked)
    if refused := st.session_state.pop(_REFUSED, None):
        show_refusal(refused)
    last = latest_job(run.jobs, "score")
    if job is None and last and last.status() is not Status.FINISHED:
        show_end(last)


def _durations(workspace: Workspace, run: Run) -> str:
    """Return how long a score takes, full or quick, if one was made here."""
    took = scoring.took(workspace, run)
    if not took:
        return t("chat.score_unmeasured")
    return t("chat.score_took", **{extent: say(duration(took.get(extent))) for extent in ("full", "quick")})


def show_found(workspace: Workspace, run: Run) -> bool:
    """Draw everything known about a run's scores; return whether there is anything."""
    scored, now = of_checkpoints(run), stored(run)
    if now is None and not scored:
        st.info(t("chat.no_score"), icon=":material/info:")
        return False
    chosen, scores = None, now
    if len(scored) > 1:
        _show_curves(run, scored)
        proposed, side = best(scored), tuned_side(run)
        # First what is exported, as in the card above and in the report.
        first = side.checkpoint if now and side else proposed
        names = list(scored)
        chosen = st.selectbox(
            t("chat.score_of"),
            names,
            index=names.index(first) if first in names else 0,
            format_func=lambda name: f"{name} · {t('export.best')}" if name == proposed else name,
            key=f"score-of-{run.id}",
        )
        scores = scored[chosen]
    if scores is None:
        scores = next(reversed(scored.values()))
    show_scores(scores, run)
    _offer_next(workspace, run, scores)
    show_score_answers(scores, run.nickname)
    return True


def _show_curves(run: Run, scored: Mapping[str, Scores]) -> None:
    """Draw the rates over the checkpoints, above the loss on the same axis."""
    steps = [int(name.rpartition("_")[2]) for name in scored]

    def make() -> object:
        rates = [
            Line(
                name=t(f"comparison.{rate}"),
                x=steps,
                y=[scores.both(rate)[1] if rate in scores.rates else None for scores in scored.values()],
                marker=symbol,
                size=size,
                joined=True,
                colour=colour,
            )
            for rate, (colour, symbol, size) in MARKS.items()
            if any(rate in scores.rates for scores in scored.values())
        ]
        points = run.metrics().read()
        loss = Line(name=t("curves.loss"), x=[p["iter"] for p in points], y=[p["loss"] for p in points], faint=True)
        return stacked(
            [
                Panel(title=t("chat.rates"), lines=rates, span=(-0.05, 1.05)),
                Panel(title=t("curves.loss"), lines=[loss], height=160),
            ],
            t("curves.iteration"),
        )

    signature = (run.id, language(), *((name, scores.worth) for name, scores in scored.items()))
    show_chart("scores", signature, make, t("chat.rates"), file=f"scores-{run.id}")


def _offer_next(workspace: Workspace, run: Run, scores: Scores) -> None:
    """Offer a button that creates the config with the next setting changed, if there is one to change."""
    found = diagnose(scores, run)
    with refusals():
        changes = changed_settings(run, found)
        if not changes:
            return
        model, other = models.find(workspace, run.facts.model.name), takes_other_data(run, found)
        if other and teaching.must_ask(workspace, model):
            # This takes minutes, too long for a click here.
            link_to("dataset", t("chat.make_data", model=model.name))
            return
        words = "、".join(f"{name}: {before} → {after}" for name, (before, after) in changes.items())
        if st.button(t("chat.make_next", changes=words), icon=":material/auto_fix_high:", key="make-next"):
            data = teaching.at_once(workspace, run.nickname or "", model) if other else None
            made = next_config(workspace, run, found, data)
            select("config", made.name)
            st.switch_page("pages/3_config.py")
