"""The result of an export: size and time of each step, the verdict on the merged model, and the answers behind it."""

from typing import Any

import streamlit as st

from core.export.export import STEPS, Exported, asked, full
from core.export.verdict import causes, verdict
from core.ground.figures import NONE, duration, size
from core.ground.files import read_json
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.report.ahead import next_page
from core.training.run import Run
from pages.components.contents import next_button
from pages.components.job_progress import show_progress
from pages.components.onward import words_to
from pages.components.plain import plain, tick
from pages.components.text import say, t


def show_made(workspace: Workspace, run: Run, found: Exported, *, primary: bool = True) -> None:
    """Draw the card of a finished model: its size, its verification, and the button to the chat, then to the report.

    `primary`: that button is the page's next step.
    """
    merged, proved = found.merged, found.verified
    words = [f"**{t('export.ready')}**", size(merged["bytes"])]
    words.append(say(verdict(proved)) if proved else t("export.not_verified"))
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="made"):
        st.markdown(" · ".join(words), width="stretch")
        scored = next_page(workspace, run) == "report"
        # The chat page loads the models immediately, if memory allows. The buttons stay together where they wrap.
        with st.container(horizontal=True, width="content"):
            label = None if scored else t("export.to_chat")
            next_button("chat", label, primary=primary and not scored, key="next_chat", run=run.id, load="1")
            if scored:
                next_button("report", words_to("report", run), primary=primary, key="next_report", run=run.id)


def show_export(run: Run, found: Exported) -> None:
    """Draw the completed steps and the verdict."""
    made: dict[str, dict[str, Any] | None] = dict(
        zip(STEPS, (found.adapter, found.merged, found.verified), strict=True)
    )
    seconds = {step: (read_json(run.path / "export" / f"{step}.json") or {}).get("seconds") for step in STEPS}
    if full(run):
        # For a full fine-tune, convert gives the complete model.
        made = {"convert": found.merged, "verify": found.verified}
    for column, (step, facts) in zip(st.columns(len(made)), made.items(), strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"{tick(bool(facts), pending=True)} **{t(f'export.{step}')}**")
            if not facts:
                st.caption(t("export.not_yet"))
            elif step == "verify":
                st.caption(say(duration(seconds[step])))
            else:
                st.caption(f"{size(facts['bytes'])} · {say(duration(seconds[step]))}")
                st.code(facts["path"], language=None, wrap_lines=True)
    if found.verified:
        _show_verdict(run, found.verified)


def show_export_progress(job: Job) -> bool:
    """Draw the progress of a live export, with the bytes written so far."""
    live = show_progress(job)
    if live and (count := job.progress.get("bytes")):
        st.caption(t("export.written", size=size(count)))
    return live


def _show_verdict(run: Run, found: dict[str, Any]) -> None:
    if not found["ok"]:
        why = "  \n".join(f"- {plain(say(cause))}" for cause in causes(found))
        st.error(f"**{say(verdict(found))}**\n\n{why}", icon=":material/error:")
    left, middle, right = st.columns(3)
    far = found["max_abs_logit_diff"]
    left.metric(
        t("export.logits"),
        NONE if far is None else f"{far:.1e}",
        help=t("export.logits_help"),
        border=True,
        height="stretch",
    )
    middle.metric(
        t("export.tokens"), t("export.yes") if found["same_tokens"] else t("export.no"), border=True, height="stretch"
    )
    right.metric(
        t("export.precision"), str(found.get("dtype", NONE)).removeprefix("torch."), border=True, height="stretch"
    )
    answers = found.get("answers", [])
    questions = asked(run)
    # The questions of a verification by an earlier version are unknown.
    known = questions if len(questions) == len(answers) else [NONE] * len(answers)
    st.table(
        [
            {
                t("comparison.question"): plain(question),
                t("export.with_adapter"): plain(answer["adapter"], run.nickname),
                t("export.merged_alone"): plain(answer["merged"], run.nickname),
            }
            for question, answer in zip(known, answers, strict=True)
        ],
        hide_index=True,
        border="horizontal",
    )
