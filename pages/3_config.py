"""From one of XTuner's presets to the user's own config: created by a recipe, checked, edited as form and as text."""

import streamlit as st

from core.config import config as configs
from core.data import dataset as datasets
from core.models import model as models
from pages.components.choice import choose
from pages.components.config.consent import ask_to_execute
from pages.components.config.editor import show_editor, show_edits, syntax_error
from pages.components.config.exchange import show_incoming, show_outgoing
from pages.components.config.form import show_settings
from pages.components.config.preflight import show_details, show_verdict
from pages.components.config.preset_choice import show_catalogue, show_new
from pages.components.contents import nothing_yet
from pages.components.frame import open_page
from pages.components.plain import plain
from pages.components.problems import refusals
from pages.components.text import t

workspace = open_page("config")
usable = [model.name for model in models.every(workspace) if model.trainable]
data = [dataset.name for dataset in datasets.every(workspace)]
found = {config.name: config for config in configs.every(workspace)}

if not usable and not found:
    nothing_yet(t("config.no_model"), "setup")
if not data and not found:
    # One step at a time: only the first missing one has the button.
    nothing_yet(t("config.no_dataset"), "dataset" if usable else None)
if found:
    config = found[choose("config", list(found))]
    broken, forecast = syntax_error(config), None
    waits = ask_to_execute(workspace, config)
    if not waits:
        forecast = show_verdict(workspace, config, broken)
if usable and data:
    # Drawn only when opened, because there are hundreds of presets. The first config closes it.
    key = "new_config" if found else "first_config"
    lid = st.expander(t("config.new"), expanded=not found, icon=":material/add:", key=key, on_change="rerun")
    if lid.open:
        names = [t(f"config.tab_{tab}") for tab in ("new", "presets", "files")]
        new_tab, presets_tab, files_tab = lid.tabs(names)
        with new_tab:
            show_new(workspace, usable, data, first=not found)
        with presets_tab:
            show_catalogue(workspace, models.find(workspace, st.session_state.get("config_model") or usable[0]))
        with files_tab:
            show_incoming(workspace, usable, data)
if not found:
    st.stop()

labels = [t(f"config.{part}") for part in ("settings", "text", "edits", "forecast")]
# Only the open one is drawn: the editor and the differences take most of what the page would cost.
settings_tab, text_tab, edits_tab, forecast_tab = st.tabs(
    labels, default=labels[1 if broken else 0], key="config_tab", on_change="rerun"
)
if settings_tab.open:
    with settings_tab, refusals():
        facts = {name: plain(getattr(config, name)) for name in ("model", "dataset")}
        st.caption(t("config.facts", **facts, preset=plain(config.facts["preset"])))
        show_settings(workspace, config, usable, data, locked=broken is not None)
if text_tab.open:
    with text_tab, refusals():
        show_editor(workspace, config, told=not waits)
if edits_tab.open:
    with edits_tab:
        show_edits(config)
if forecast_tab.open:
    with forecast_tab:
        show_details(workspace, config, forecast)
show_outgoing(workspace, config)
