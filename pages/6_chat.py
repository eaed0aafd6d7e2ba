"""Ask the base model, the tuned one and others the same thing, side by side; and put a number on what was learned."""

import streamlit as st

from core.chat.side import BASE, sides, tuned_side
from core.data.assistant import COURSE_QUESTIONS
from core.ground.errors import StudioError
from core.models import model as models
from pages.components.chat import dialogue
from pages.components.chat.scores import scoring_job, show_found, show_scoring
from pages.components.chat.settings import choose_sampling, choose_sides, show_kept, side_names
from pages.components.chat.worker import load_button, offer_loading, show_loading, worker_of
from pages.components.choice import choose_run
from pages.components.contents import link_to, nothing_yet
from pages.components.frame import open_page
from pages.components.job_progress import show_progress
from pages.components.live import while_live
from pages.components.plain import plain
from pages.components.problems import show_refusal
from pages.components.text import t

QUESTIONS = {
    "try_identity": (*COURSE_QUESTIONS, "你是谁", "Who are you?", "你是 ChatGPT 吗？"),
    "try_general": ("你好", "法国的首都是哪里？", "2加3等于几？", "What is the capital of Japan?"),
}

workspace = open_page("chat")
run = choose_run(workspace)
if run is None:
    nothing_yet(t("chat.no_run"), "train")
    st.stop()
if tuned_side(run) is None:
    nothing_yet(t("chat.nothing_to_ask"), "train")
    st.stop()

worker, scoring = worker_of(workspace, run), scoring_job(run)
ready = worker is not None and worker.ready
# One timer for all that goes on: a second one can lose what the page draws after it.
if scoring:
    while_live(True, lambda: show_progress(scoring))
elif worker and not ready:
    while_live(True, lambda: show_loading(worker.job, worker))
elif worker is None:
    offer_loading(workspace, run)

chat_tab, score_tab = st.tabs([t("chat.tab_chat"), t("chat.tab_score")])

with score_tab:
    show_scoring(workspace, run, scoring)
    if show_found(workspace, run):
        link_to("report", t("chat.to_report"), ":material/arrow_forward:")

with chat_tab:
    conversation = dialogue.current(workspace, run)
    known = sides(workspace, run)
    names = side_names(known, run)
    columns = choose_sides(known, names, run)
    if not known[BASE].template.same(run.template):
        st.caption(t("chat.other_prompt", own=plain(known[BASE].template.label), run=plain(run.template.label)))
    sampling, remember, mark = choose_sampling(conversation, demo=models.look(run.model_path).demo)
    show_kept(workspace, run, conversation, names)
    again = dialogue.asked_again(conversation, may_ask=bool(columns)) if ready else None
    dialogue.show_past(conversation, names, mark=mark, may_ask=ready)
    place = st.container()

if ready:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            t("chat.clear"), icon=":material/add_comment:", on_click=dialogue.begin_anew, args=(run,), key="clear_chat"
        )
        st.button(t("chat.unload"), icon=":material/eject:", on_click=worker.stop, key="unload_chat")
    picked = dialogue.suggested(QUESTIONS)
    typed = st.chat_input(t("chat.ask"), key="question", submit_mode="stop", max_chars=4000)
    question = typed or picked or again
    if not columns:
        st.warning(t("chat.no_columns"), icon=":material/warning:")
    elif question:
        with place:
            try:
                dialogue.answer(workspace, worker, conversation, question, columns, names, sampling, remember=remember)
            except StudioError as error:
                show_refusal(error)
                load_button(workspace, run)
elif lost := dialogue.not_asked():
    st.warning(t("chat.not_asked"), icon=":material/warning:")
    st.code(lost, language=None, wrap_lines=True)
