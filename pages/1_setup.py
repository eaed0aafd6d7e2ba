"""Where one begins: what to do next, the assignment's checklist; below, the demo, models, machine, engine and tunnel."""

import streamlit as st

from core.report.assignment import assignment
from pages.components import busy_panel, demo_panel
from pages.components.checklist import show_checklist
from pages.components.contents import for_a_picture
from pages.components.engine_panel import show_engine
from pages.components.frame import open_page
from pages.components.guide import show_guide
from pages.components.live import while_live
from pages.components.machine import show_machine
from pages.components.model_sources import show_sources
from pages.components.models_panel import show_models
from pages.components.sections import choose_section
from pages.components.text import t
from pages.components.trust_panel import ask_for_leave, mention_who_waits
from pages.components.tunnel import show_tunnel

workspace = open_page("setup")
found, live = assignment(workspace), busy_panel.live_jobs(workspace)
busy = bool(live)

left, right = st.columns([3, 2], gap="large")
with left, st.container(border=True):
    show_guide(workspace, found, busy=busy)
with right:
    show_checklist(found)

while_live(busy, lambda: busy_panel.show_live(workspace, live))
busy_panel.show_failures(workspace)

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
    demo_panel.show_demo(workspace, busy="demo" in live)
elif section == "models":
    show_models(workspace)
    show_sources(workspace, busy=busy)
elif section == "machine":
    show_machine(workspace)
elif section == "engine":
    show_engine(workspace, busy=busy)
else:
    show_tunnel()
