"""The settings of a config as a form, drawn from core's fields; hands back only what the user changed."""

from typing import Any

import streamlit as st

from core.config.config import Config
from core.config.fields import FIELDS, Field
from pages.components.text import say, t


def stamp(config: Config) -> str:
    """Which state of the config's file a widget belongs to: when the file changes, widgets begin anew with its values."""
    return f"{config.name}-{config.file.stat().st_mtime_ns}"


def show_settings(config: Config) -> dict[str, Any] | None:
    """Draw the form. Returns the changed settings once the user saves, else None."""
    values = config.values()
    entered: dict[str, Any] = {}
    with st.form(f"settings-{config.name}", border=False):
        for advanced in (False, True):
            place = st.expander(t("config.advanced"), icon=":material/settings:") if advanced else st.container()
            columns = place.columns(2)
            shown = [field for field in FIELDS if field.advanced is advanced and _editable(values[field.name])]
            for number, field in enumerate(shown):
                with columns[number % 2]:
                    entered[field.name] = _widget(field, values[field.name], f"{stamp(config)}-{field.name}")
        saved = st.form_submit_button(t("config.save"), type="primary", icon=":material/save:", key="save_settings")
    if not saved:
        return None
    return {name: value for name, value in entered.items() if value is not None and value != values[name]}


def _editable(value: Any) -> bool:
    """Whether a value is one that a form can hold: neither code nor a setting that this config does not have."""
    return isinstance(value, bool | int | float | str | list)


def _widget(field: Field, value: Any, key: str) -> Any:
    label = f"{say(field.label)} `{field.name}`"
    help_ = say(field.help)
    if field.kind == "bool":
        return st.toggle(label, value, key=key, help=help_, wrap=True)
    if field.kind == "int":
        return st.number_input(label, int(field.least or 0), int(field.most or 0) or None, value, key=key, help=help_)
    if field.kind == "float":
        # As text: a number input has one fixed form, and 0.0002 and 2e-4 are both what people write.
        return _float(st.text_input(label, f"{value:g}", key=key, help=help_))
    if field.kind == "list":
        lines = st.text_area(label, "\n".join(value), key=key, help=help_, height=110).splitlines()
        return [line.strip() for line in lines if line.strip()]
    return st.text_input(label, value, key=key, help=help_)


def _float(text: str) -> float | str:
    """The number, or the text for core to refuse."""
    try:
        return float(text)
    except ValueError:
        return text
