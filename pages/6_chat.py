"""Ask the base model and the tuned one the same thing, side by side; and put a number on what was learned."""

import streamlit as st

from core.chat.compare import Sampling
from core.chat.score import score, stored
from core.chat.side import tuned_side
from core.data.assistant import COURSE_QUESTIONS
from core.engine import model as models
from core.ground.errors import StudioError
from pages.components import dialogue
from pages.components.chat_worker_panel import load_button, ready_worker
from pages.components.choice import choose_run
from pages.components.comparison import show_score_answers, show_scores
from pages.components.contents import link_to, nothing_yet
from pages.components.frame import open_page
from pages.components.problems import refusals, show_refusal
from pages.components.text import t

QUESTIONS = (*COURSE_QUESTIONS, "你是谁", "Who are you?", "法国的首都是哪里？", "2加3等于几？")

workspace = open_page("chat")
run = choose_run(workspace)
if run is None:
    nothing_yet(t("chat.no_run"), "train")
    st.stop()
if tuned_side(run) is None:
    nothing_yet(t("chat.nothing_to_ask"), "train")
    st.stop()

worker = ready_worker(workspace, run)
chat_tab, score_tab = st.tabs([t("chat.tab_chat"), t("chat.tab_score")])

with score_tab:
    st.caption(t("chat.score_intro"))
    if worker and st.button(t("chat.score"), icon=":material/grading:", type="primary", key="score"):
        with refusals(), st.spinner(t("chat.scoring"), show_time=True):
            score(run, worker)
    scores = stored(run)
    if scores:
        show_scores(scores)
        show_score_answers(scores, run.nickname)
        link_to("report", t("chat.to_report"), ":material/arrow_forward:")
    else:
        st.info(t("chat.no_score"), icon=":material/info:")

with chat_tab:
    conversation = dialogue.current(workspace, run)
    dialogue.show_past(conversation)
    place = st.container()

if worker:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            t("chat.clear"), icon=":material/add_comment:", on_click=dialogue.begin_anew, args=(run,), key="clear_chat"
        )
        # The demo model has only ever seen single turns, and drifts when told what was said before.
        demo = models.look(run.model_path).demo
        remember = st.toggle(
            t("chat.remember"), not demo, help=t("chat.remember_help"), key="chat_remember", persist_state="session"
        )
        st.button(t("chat.unload"), icon=":material/eject:", on_click=worker.stop, key="unload_chat")
    picked = dialogue.suggested(QUESTIONS)
    question = st.chat_input(t("chat.ask"), key="question", submit_mode="stop", max_chars=4000) or picked
    if question:
        with place:
            try:
                dialogue.answer(workspace, worker, conversation, question, Sampling(), remember=remember)
            except StudioError as error:
                show_refusal(error)
                load_button(workspace, run)
