"""The first page: demo and next step side by side, the checklist; below, models, machine, engine and tunnel."""

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
busy, shown = bool(live), demo.latest(workspace)
# New users see what the demo does first; later their own next step comes first.
untouched = shown is None and not found.done and not busy

cards = [column.container(border=True, height="stretch") for column in st.columns(2, gap="medium")]
demo_card, own_card = cards if untouched or "demo" in live else reversed(cards)
with demo_card:
    if "demo" not in live:
        demo.show_demo(workspace, shown, first=untouched)
with own_card:
    show_guide(workspace, found, busy=busy, first=not untouched and "demo" not in live)
with demo_card if "demo" in live else own_card:
    # Below the card it belongs to; one timer for everything.
    while_live(busy, lambda: running.show_live(workspace, live))
running.show_failures(workspace)
show_checklist(workspace, found)

if for_a_picture():
    st.header(t("setup.section.models"), anchor=False)
    show_models(workspace, opened=True)
    st.header(t("setup.section.machine"), anchor=False)
    show_machine(workspace)
    st.stop()

section = choose_section(has_demo=shown is not None and "demo" not in live)
if section == "models":
    ask_for_leave(workspace)
else:
    mention_who_waits(workspace)
if section == "demo":
    demo.show_outcome(workspace, shown)
elif section == "models":
    show_models(workspace)
    show_sources(workspace, busy=busy)
elif section == "machine":
    show_machine(workspace)
elif section == "engine":
    show_engine(workspace, busy=busy)
else:
    show_tunnel()
