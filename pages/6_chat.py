"""Ask the base model, the fine-tuned one and others the same question side by side; score what was learned."""

import streamlit as st

from core.chat.side import BASE, sides, tuned_side
from core.data.assistant import COURSE_QUESTIONS
from core.ground.errors import StudioError
from core.models import model as models
from pages.components.chat import dialogue
from pages.components.chat.scores import scoring_job, show_found, show_scoring
from pages.components.chat.settings import choose_sampling, choose_sides, show_kept, side_names
from pages.components.chat.standing import show_standing
from pages.components.chat.worker import load, memory_button, show_loading, show_refused, worker_of
from pages.components.choice import choose_run
from pages.components.contents import for_a_picture, nothing_yet
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
loading = worker if worker and not ready else None
standing = st.container()
chat_tab, score_tab = st.tabs([t("chat.tab_chat"), t("chat.tab_score")], key="chat_tab", on_change="rerun")
with standing:
    leads_on = show_standing(workspace, run, scoring, in_chat=chat_tab.open)

with score_tab:
    if scoring:
        # One timer for everything: a second one can lose what the page draws after it.
        while_live(True, lambda: show_progress(scoring) and not (loading and loading.ready))
    # Drawn when opened.
    if score_tab.open:
        show_scoring(workspace, run, scoring, primary=not leads_on)
        show_found(workspace, run)

with chat_tab:
    conversation = dialogue.current(workspace, run)
    known = sides(workspace, run)
    names = side_names(known, run)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.popover(t("chat.settings"), icon=":material/tune:", type="tertiary"):
            columns = choose_sides(known, names, run)
            sampling, remember, mark = choose_sampling(conversation, demo=models.look(run.model_path).demo)
        show_kept(workspace, run, conversation, names)
        if conversation.exchanges:
            st.button(
                t("chat.clear"),
                icon=":material/add_comment:",
                on_click=dialogue.begin_anew,
                args=(run,),
                key="clear_chat",
                type="tertiary",
            )
        memory_button(workspace, run, worker)
    if not known[BASE].template.same(run.template):
        st.caption(t("chat.other_prompt", own=plain(known[BASE].template.label), run=plain(run.template.label)))
    due = dialogue.due(conversation, may_ask=bool(columns)) if ready else None
    dialogue.show_past(conversation, names, mark=mark)
    place = st.container()
    picked = None if for_a_picture() else dialogue.suggested(QUESTIONS)
    if loading and not scoring:
        with place:
            dialogue.show_waiting()
            while_live(True, lambda: show_loading(loading.job, loading))

typed = None
if chat_tab.open and not for_a_picture():
    typed = st.chat_input(t("chat.ask"), key="question", submit_mode="stop", max_chars=4000)
# A question is asked as soon as the models are loaded. Users who come from an export are expected to ask one.
expected = st.query_params.pop("load", None)
wanted = dialogue.put_off(conversation, typed or picked) or expected if not ready else None
if wanted and (loading or load(workspace, run)):
    st.rerun()
question = typed or picked or due
with place:
    if worker is None:
        dialogue.show_waiting()
        show_refused(workspace, run)
    elif not columns:
        st.warning(t("chat.no_columns"), icon=":material/warning:")
    elif question and ready:
        try:
            dialogue.answer(workspace, worker, conversation, question, columns, names, sampling, remember=remember)
        except StudioError as error:
            show_refusal(error)
            if worker_of(workspace, run) is None:
                memory_button(workspace, run, None)
