"""From one of XTuner's presets to a config of one's own: made by a recipe, edited by form or by hand, checked."""

import streamlit as st

from core.config import config as configs
from core.config.recipe import DEFAULT_PRESETS, RECIPES
from core.data import dataset as datasets
from core.engine import interpreter
from core.engine import model as models
from core.engine.presets import matching
from pages.components.choice import choose, select
from pages.components.config_form import show_settings, stamp
from pages.components.contents import link_to, nothing_yet
from pages.components.frame import open_page
from pages.components.plain import DONE, plain
from pages.components.preflight_panel import show_preflight
from pages.components.problems import refusals
from pages.components.text import language, t

workspace = open_page("config")
whole = [model.name for model in models.every(workspace) if model.whole]
data = [dataset.name for dataset in datasets.every(workspace)]
found = {config.name: config for config in configs.every(workspace)}

if not whole:
    nothing_yet(t("config.no_model"), "setup")
if not data:
    nothing_yet(t("config.no_dataset"), "dataset")
if whole and data:
    with st.expander(t("config.new"), expanded=not found, icon=":material/add:"):
        left, right = st.columns(2)
        with left:
            model = st.selectbox(t("choice.model"), whole, key="config_model", persist_state="session")
            dataset = choose("dataset", data)
        with right:
            recipe = st.selectbox(
                t("config.recipe"),
                ("fast", *(name for name in RECIPES if name != "fast")),
                format_func=lambda name: t(f"config.recipe_{name}"),
                key="config_recipe",
                persist_state="session",
            )
            presets = matching(None, interpreter.xtuner_directory(workspace))
            preset = st.selectbox(
                t("config.preset", count=len(presets)),
                presets,
                presets.index(DEFAULT_PRESETS[recipe]),
                key=f"config_preset_{recipe}",
                help=t("config.preset_help"),
            )
        st.caption(t(f"config.recipe_{recipe}_caption"))
        name = st.text_input(t("config.name"), key="config_name", placeholder=f"{dataset}-{recipe}")
        if st.button(t("config.make"), type="primary", icon=":material/add:", key="make_config"):
            with refusals():
                made = configs.make(
                    workspace, model=model, dataset=dataset, preset=preset, recipe=recipe, name=name or None
                )
                select("config", made.name)
                st.toast(t("config.made", name=made.name), icon=DONE)
                st.rerun()
if not found:
    st.stop()

config = found[choose("config", list(found))]
facts = config.facts
st.caption(t("config.facts", model=plain(config.model), dataset=plain(config.dataset), preset=plain(facts["preset"])))
left, right = st.columns(2, gap="large")
with left:
    form_tab, text_tab, why_tab = st.tabs([t("config.tab_form"), t("config.tab_text"), t("config.tab_why")])
    with form_tab, refusals():
        changed = show_settings(config)
        if changed:
            configs.change(workspace, config.name, changed)
            st.toast(t("config.saved"), icon=DONE)
            st.rerun()
    with text_tab, refusals():
        text = st.text_area(
            t("config.text"), config.text(), height=560, key=f"text-{stamp(config)}", label_visibility="collapsed"
        )
        if st.button(t("config.save_text"), icon=":material/save:", key="save_text"):
            configs.replace_text(workspace, config.name, text)
            st.toast(t("config.saved"), icon=DONE)
            st.rerun()
    with why_tab:
        st.table(
            [
                {t("config.place"): f"`{edit['path']}`", t("config.why"): plain(edit["why"][language()])}
                for edit in facts.get("edits", [])
            ],
            hide_index=True,
            border="horizontal",
        )
with right:
    st.markdown(f"**{t('config.diff')}**")
    st.code(config.diff() or t("config.no_diff"), language="diff", wrap_lines=True, height=640)

st.subheader(t("preflight.title"), anchor=False)
show_preflight(workspace, config)
link_to("train", t("config.to_train"), ":material/arrow_forward:")
