"""The frame of every page: title and lesson, and in the sidebar language, next step, what runs now and the workspace.

With `?shot=1` in the address, a page is shown without menu, sidebar and lesson, for a screenshot.
"""

import streamlit as st

from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from core.jobs.job import Job, jobs_in, latest_job
from core.training import run as runs
from core.training.run import Run
from core.training.shown import titles
from pages.components.checklist import remind
from pages.components.contents import for_a_picture, link_to, make_up_for_the_menu
from pages.components.plain import plain
from pages.components.problems import show_refusal
from pages.components.server.scripts import html_language
from pages.components.text import language, language_switch, say, t

# The label of a selected item has the primary color, which must also suit white text and is thus too dark on a dark
# background.
# Streamlit highlights a link to the current page, although it may belong to a step done long ago.
# On a narrow phone a report's tables scroll, not the page, and a Chinese heading stays on its line. Links show keyboard focus and wrap.
# On a wide screen a cell may be wider than Streamlit's 400 pixels.
STYLE = """<style>
[data-testid=stTab][aria-selected=true] p, [data-testid=stSliderThumbValue] p,
button:is([aria-checked=true], [aria-pressed=true]) :is(p, [data-testid=stIconMaterial]) {
    color: color-mix(in srgb, currentColor 65%, CanvasText);
}
.st-key-checklist [data-testid=stPageLink-NavLink]:not(:hover) { background: none; }
.st-key-checklist [data-testid=stPageLink-NavLink] p { font-weight: inherit; }
.st-key-report_text table { display: block; overflow-x: auto; }
:is(.st-key-models, .st-key-report_text) :is(th, th *) { word-break: keep-all !important; }
[data-testid=stSidebarNavLink]:focus-visible, [data-testid=stPageLink-NavLink]:focus-visible {
    outline: 2px solid; outline-offset: -2px;
}
[data-testid=stHeading] h2 { padding: 0.5rem 0 1rem; }
[data-testid=stPageLink-NavLink] :is(span, div, p):not([data-testid=stIconMaterial]) { white-space: normal; }
@media (min-width: 1000px) { [data-testid=stTable] [data-testid=stMarkdownContainer] { max-width: 44rem; } }
</style>"""
# Streamlit's own texts of an upload are English in every language; these replace them visually.
UPLOAD = """<style>
[data-testid=stFileUploaderDropzone] button p, [data-testid=stFileUploaderDropzoneInstructions] span { font-size: 0; }
[data-testid=stFileUploaderDropzone] button p::after { content: "UPLOAD"; font-size: 0.875rem; }
[data-testid=stFileUploaderDropzoneInstructions] span::after { content: "DROP"; font-size: 0.875rem; }
</style>"""


def open_page(name: str) -> Workspace:
    """Draw the frame of the page `name` and return the workspace; if that is unusable, the page stops here."""
    make_up_for_the_menu()
    alone = for_a_picture()
    if not alone:
        with st.sidebar:
            language_switch()
    st.html(STYLE)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(t(f"{name}.title"), anchor=False, width="content")
        if not alone:
            with st.popover(t("frame.lesson"), icon=":material/school:", type="tertiary"):
                st.markdown(t(f"{name}.lesson"))
    st.markdown(t(f"{name}.intro"))
    try:
        workspace = Workspace.open()
    except StudioError as error:
        show_refusal(error)
        st.stop()
    if language() != "en":
        st.html(UPLOAD.replace("UPLOAD", t("frame.upload")).replace("DROP", t("frame.drop")))
    if alone:
        return workspace
    if workspace.narrowed.exists():
        st.info(t("frame.narrowed"), icon=":material/lock:")
        workspace.narrowed.unlink(missing_ok=True)
    with st.sidebar:
        if name != "setup":
            remind(workspace)
        _what_runs(workspace)
        st.caption(t("frame.workspace"))
        st.caption(plain(str(workspace.root)))
        st.html(f"<script>{html_language(language())}</script>", unsafe_allow_javascript=True)
    return workspace


# Work on a finished run, and the page where it is watched.
_AFTERWARDS = {"export": "export", "gguf": "export", "score": "chat", "report": "report", "upload": "report"}


def _after_a_run(found: list[Run]) -> dict[str, Job]:
    """Return what is done with finished runs now, by kind."""
    jobs = [job for run in found for job in jobs_in(run.jobs)]
    live = {job.name.rpartition("-")[0]: job for job in jobs if job.exit is None and job.status().live}
    return {kind: job for kind, job in live.items() if kind in _AFTERWARDS}


def _what_runs(workspace: Workspace) -> None:
    live = {
        kind: job
        for kind in ("demo", "demo_model", "download", "engine", "chat")
        if (job := latest_job(workspace.jobs, kind)) and job.status().live
    }
    found = runs.every(workspace)
    training = runs.running_of(workspace, found)
    after = {} if "demo" in live else _after_a_run(found)
    st.caption(t("frame.running"))
    if "demo" in live:
        link_to("setup", t("frame.runs_demo"), ":material/play_circle:")
    elif "demo_model" in live:
        link_to("setup", t("frame.runs_model"), ":material/play_circle:")
    for kind in ("download", "engine"):
        if kind in live:
            link_to("setup", t(f"frame.runs_{kind}"), ":material/play_circle:")
    if training:
        # The name that it has where a run is chosen.
        name = say(titles([training])[training.id])
        link_to("train", t("frame.runs_training", run=plain(name)), ":material/play_circle:")
    for kind in after:
        link_to(_AFTERWARDS[kind], t(f"frame.runs_{kind}"), ":material/play_circle:")
    if "chat" in live:
        link_to("chat", t("frame.runs_chat"), ":material/memory:")
    if not live and not training and not after:
        st.markdown(t("frame.nothing_runs"))
