"""From one of XTuner's presets to a config of one's own: made by a recipe, edited by form and by hand, checked."""

import streamlit as st

from core.config import config as configs
from core.data import dataset as datasets
from core.models import model as models
from pages.components.choice import choose
from pages.components.config.editor import show_editor, syntax_error
from pages.components.config.exchange import show_incoming, show_outgoing
from pages.components.config.form import show_settings
from pages.components.config.preflight import show_preflight
from pages.components.config.preset_choice import show_catalogue, show_new
from pages.components.contents import link_to, nothing_yet
from pages.components.frame import open_page
from pages.components.plain import plain
from pages.components.problems import refusals
from pages.components.text import language, t

workspace = open_page("config")
usable = [model.name for model in models.every(workspace) if model.trainable]
data = [dataset.name for dataset in datasets.every(workspace)]
found = {config.name: config for config in configs.every(workspace)}

if not usable:
    nothing_yet(t("config.no_model"), "setup")
if not data:
    # One step after the other: the first that is missing has the button.
    nothing_yet(t("config.no_dataset"), "dataset" if usable else None)
if usable and data:
    with st.expander(t("config.new"), expanded=not found, icon=":material/add:"):
        new_tab, presets_tab, files_tab = st.tabs([t("config.tab_new"), t("config.tab_presets"), t("config.tab_files")])
        with new_tab:
            show_new(workspace, usable, data)
        with presets_tab:
            show_catalogue(workspace, models.find(workspace, st.session_state.get("config_model") or usable[0]))
        with files_tab:
            show_incoming(workspace, usable, data)
if not found:
    st.stop()

config = found[choose("config", list(found))]
facts = config.facts
st.caption(t("config.facts", model=plain(config.model), dataset=plain(config.dataset), preset=plain(facts["preset"])))
show_outgoing(workspace, config)
left, right = st.columns(2, gap="large")
with left:
    st.markdown(f"**{t('config.settings')}**")
    with refusals():
        show_settings(workspace, config, usable, data, locked=syntax_error(config) is not None)
with right:
    st.markdown(f"**{t('config.text')}**")
    with refusals():
        show_editor(workspace, config)
if facts.get("edits"):
    with st.expander(t("config.whys"), icon=":material/help:"):
        st.table(
            [
                {t("config.place"): f"`{edit['path']}`", t("config.why"): plain(edit["why"][language()])}
                for edit in facts["edits"]
            ],
            hide_index=True,
            border="horizontal",
        )

st.subheader(t("preflight.title"), anchor=False)
show_preflight(workspace, config)
link_to("train", t("config.to_train"), ":material/arrow_forward:")
