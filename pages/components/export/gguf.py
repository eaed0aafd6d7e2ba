"""GGUF files of the merged model: which to create, llama.cpp's verdict on them, and how to download them."""

import streamlit as st

from core.chat import gguf_score
from core.export.export import Exported, asked
from core.export.gguf import conversion, llama_cpp
from core.export.gguf.conversion import Made
from core.export.gguf.families import refusal
from core.export.gguf.modelfile import first_question, name_of, ollama_lines, other_lines
from core.export.gguf.parcel import MOST_BYTES, fetch_lines, parcel, time_for
from core.export.gguf.verdict import verdict
from core.ground.figures import NONE, duration, share, size
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status, latest_job
from core.training.run import Run
from pages.components.job_progress import show_progress
from pages.components.live import while_live
from pages.components.plain import plain
from pages.components.problems import refusals, show_end
from pages.components.text import say, t


def show_gguf(workspace: Workspace, run: Run, found: Exported, *, busy: bool) -> None:
    """Draw the existing files and the form that creates them; nothing without a merged model or while it is `busy`."""
    if not found.merged or busy:
        return
    st.header(t("export.gguf.title"))
    st.caption(t("export.gguf.lesson"))
    why = refusal(run.merged)
    if why:
        st.info(plain(say(why)), icon=":material/info:")
        return
    job = latest_job(run.jobs, conversion.JOB)
    live = bool(job and job.status().live)
    _choose(workspace, run, found, live)
    if job:
        _show_job(job, live)
    for made in conversion.made(run):
        _show_file(run, made)


def _choose(workspace: Workspace, run: Run, found: Exported, live: bool) -> None:
    kinds = st.multiselect(
        t("export.gguf.kinds"),
        conversion.KINDS,
        default=["q8_0"],
        format_func=lambda kind: f"{t(f'export.gguf.{kind}')} · {size(conversion.expected_bytes(run, kind))}",
        key="gguf_kinds",
    )
    can_ask = bool(found.verified and found.verified.get("tokens"))
    fetched = llama_cpp.there(llama_cpp.place(workspace))
    verify = st.checkbox(
        t("export.gguf.verify" if fetched else "export.gguf.verify_first"),
        value=False,
        disabled=not can_ask,
        help=t("export.gguf.verify_help" if can_ask else "export.gguf.verify_cannot"),
        key="gguf_verify",
    )
    if not fetched and set(kinds) & set(llama_cpp.QUANTISED):
        st.caption(t("export.gguf.quantised_by"))
    if st.button(t("export.gguf.make"), icon=":material/laptop:", disabled=live or not kinds, key="gguf-make"):
        with refusals():
            scored = gguf_score.questions(run) if verify else ()
            conversion.start(workspace, run, kinds, verify=verify, scored=scored)
            st.rerun()


def _show_job(job: Job, live: bool) -> None:
    if live:
        while_live(True, lambda: show_progress(job))
    elif job.status() is not Status.FINISHED:
        show_end(job, conversion.why(job))


def _show_scores(run: Run, made: Made) -> None:
    """Draw the scores of the run's own model next to the file's, on the same questions; nothing if it was not asked."""
    both = gguf_score.scores(run, made)
    if both is None:
        return
    own, of_file = both
    st.caption(t("export.gguf.scores", count=len(own.questions)))
    st.table(
        [
            {
                t("export.gguf.score"): t(f"comparison.{rate}"),
                t("export.merged_alone"): share(own.both(rate)[1]),
                "llama.cpp": share(of_file.both(rate)[1]),
            }
            for rate in own.rates
        ],
        hide_index=True,
        border="horizontal",
    )


def _show_answers(run: Run, answers: list[dict[str, str]]) -> None:
    """Draw both answers to each question; the questions of a verification by an earlier version are unknown."""
    questions = asked(run)
    known = questions if len(questions) == len(answers) else [NONE] * len(answers)
    st.table(
        [
            {
                t("comparison.question"): plain(question),
                t("export.merged_alone"): plain(answer["merged"], run.nickname),
                "llama.cpp": plain(answer["gguf"], run.nickname),
            }
            for question, answer in zip(known, answers, strict=True)
        ],
        hide_index=True,
        border="horizontal",
    )


def _show_file(run: Run, made: Made) -> None:
    with st.container(border=True):
        st.markdown(f"**{t(f'export.gguf.{made.kind}')}** · {size(made.bytes)} · {say(duration(made.seconds))}")
        st.code(str(made.path), language=None, wrap_lines=True)
        if made.verified:
            box, icon = (st.success, "verified") if made.verified["ok"] else (st.error, "error")
            box(say(verdict(made.verified)), icon=f":material/{icon}:")
            _show_answers(run, made.verified["answers"])
            _show_scores(run, made)
        st.caption(t("export.gguf.fetch", size=size(made.bytes), time=say(time_for(made.bytes))))
        if made.bytes <= MOST_BYTES:
            st.download_button(
                t("export.gguf.zip", size=size(made.bytes)),
                lambda: parcel(made.path),
                f"{made.path.stem}.zip",
                "application/zip",
                icon=":material/folder_zip:",
                on_click="ignore",
                key=f"gguf-zip-{made.kind}",
            )
        else:
            st.caption(t("export.gguf.too_large"))
        st.code("\n".join(fetch_lines(made.path)), language="bash", wrap_lines=True)
        st.caption(t("export.gguf.at_home"))
        question = first_question(run.questions)
        lines = ollama_lines(name_of(run.nickname, run.id), made.kind, question) + other_lines(made.path.name, question)
        st.code("\n".join(lines), language="bash", wrap_lines=True)
