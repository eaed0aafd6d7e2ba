"""Start a training, and watch it: it goes on without this page."""

import streamlit as st

from core.config import config as configs
from core.engine.commands import Cluster
from core.engine.presets import deepspeed_settings
from core.training import run as runs
from pages.components.choice import choose, choose_run, select
from pages.components.contents import link_to, nothing_yet
from pages.components.frame import open_page
from pages.components.live import while_live
from pages.components.monitor import show_run
from pages.components.problems import refusals
from pages.components.text import t

workspace = open_page("train")
found = [config.name for config in configs.every(workspace)]

if found:
    with st.container(border=True):
        left, right = st.columns([4, 1], vertical_alignment="bottom")
        with left:
            config = choose("config", found)
        with st.expander(t("train.several"), icon=":material/hub:"):
            st.caption(t("train.several_intro"))
            one, other = st.columns(2)
            nproc = one.number_input(t("train.nproc"), 1, 64, 1, key="train_nproc", persist_state="session")
            deepspeed = other.selectbox(
                "DeepSpeed",
                (None, *deepspeed_settings()),
                format_func=lambda name: name or t("train.no_deepspeed"),
                key="train_deepspeed",
                persist_state="session",
            )
        with right:
            started = st.button(
                t("train.start"), type="primary", icon=":material/play_arrow:", width="stretch", key="start_training"
            )
        if started:
            with refusals():
                run = runs.start(workspace, config, cluster=Cluster(nproc=int(nproc)), deepspeed=deepspeed)
                select("run", run.id)
                st.rerun()
else:
    nothing_yet(t("train.no_config"), "config")

run = choose_run(workspace)
if run is None:
    if found:
        st.info(t("train.no_run"), icon=":material/info:")
    st.stop()

while_live(bool((job := run.job) and job.status().live), lambda: show_run(workspace, run))

st.caption(t("train.command"))
st.code(run.facts["command"], language="bash", wrap_lines=True)
link_to("export", t("train.to_export"), ":material/arrow_forward:")
