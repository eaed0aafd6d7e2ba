"""Where one begins: the whole demo at one click, the assignment's checklist, the machine, its models, the tunnel."""

import streamlit as st

from pages.components import demo_panel, models_panel
from pages.components.checklist import show_checklist
from pages.components.frame import open_page
from pages.components.live import while_live
from pages.components.machine import show_checks, show_tunnel
from pages.components.text import t

workspace = open_page("setup")
demo, build = demo_panel.latest(workspace), models_panel.build(workspace)
demo_runs = bool(demo and demo.status().live)
model_builds = bool(build and build.status().live)

with st.container(border=True):
    st.subheader(t("demo.title"), anchor=False)
    st.markdown(t("demo.intro"))
    if demo_runs:
        while_live(True, lambda: demo_panel.show_live(demo))
    else:
        demo_panel.show_form(workspace)
        if demo:
            demo_panel.show_outcome(workspace, demo)

left, right = st.columns(2, gap="large")
with left:
    show_checklist(workspace)
with right:
    show_checks(workspace)

st.subheader(t("models.title"), anchor=False)
models_panel.show_models(workspace)
if model_builds and not demo_runs:
    while_live(True, lambda: models_panel.show_building(build))
elif not model_builds:
    models_panel.show_build(workspace, build)
models_panel.show_link_form(workspace)

show_tunnel()
