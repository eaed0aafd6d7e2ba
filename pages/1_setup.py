"""Where one begins: what to do next, the assignment's checklist; below, the demo, models, machine, engine and tunnel."""

import streamlit as st

from core.report.assignment import assignment
from pages.components.checklist import show_checklist
from pages.components.contents import for_a_picture
from pages.components.frame import open_page
from pages.components.live import while_live
from pages.components.setup import busy as running
from pages.components.setup import demo
from pages.components.setup.engine import show_engine
from pages.components.setup.guide import show_guide
from pages.components.setup.machine import show_machine
from pages.components.setup.models import show_models
from pages.components.setup.sections import choose_section
from pages.components.setup.sources import show_sources
from pages.components.setup.trust import ask_for_leave, mention_who_waits
from pages.components.setup.tunnel import show_tunnel
from pages.components.text import t

workspace = open_page("setup")
found, live = assignment(workspace), running.live_jobs(workspace)
busy = bool(live)

left, right = st.columns([3, 2], gap="large")
with left, st.container(border=True):
    show_guide(workspace, found, busy=busy)
with right:
    show_checklist(found)

while_live(busy, lambda: running.show_live(workspace, live))
running.show_failures(workspace)

if for_a_picture():
    st.subheader(t("setup.section.models"), anchor=False)
    show_models(workspace, opened=True)
    st.subheader(t("setup.section.machine"), anchor=False)
    show_machine(workspace)
    st.stop()

section = choose_section()
if section == "models":
    ask_for_leave(workspace)
else:
    mention_who_waits(workspace)
if section == "demo":
    demo.show_demo(workspace, busy="demo" in live)
elif section == "models":
    show_models(workspace)
    show_sources(workspace, busy=busy)
elif section == "machine":
    show_machine(workspace)
elif section == "engine":
    show_engine(workspace, busy=busy)
else:
    show_tunnel()
