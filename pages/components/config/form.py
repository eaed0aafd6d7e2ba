"""The settings of a config as a form in step with its file: changes to either appear in the other immediately."""

from typing import Any

import streamlit as st

from core.config import config as configs
from core.config.config import Config
from core.config.settings.field import Field
from core.config.settings.fields import FIELDS
from core.config.settings.method import OWN
from core.engine.config_file import ConfigFile
from core.ground.errors import StudioError
from core.ground.workspace import Workspace
from pages.components.plain import plain
from pages.components.text import say, t

# What a beginner changes, in this order; everything else is under "more".
FIRST = ("max_epochs", "lr", "batch_size", "max_length", "evaluation_inputs")
GROUPS = ("task", "data", "learning", "adapter", "watch", "machine")
_REFUSED = "refused-settings"


def stamp(config: Config) -> str:
    """Return an identifier of the config file's state."""
    return f"{config.name}-{config.file.stat().st_mtime_ns}"


def show_settings(workspace: Workspace, config: Config, models: list[str], data: list[str], *, locked: bool) -> None:
    """Draw the form for the fields that the config file has. `locked` while the editor contains invalid Python."""
    file = ConfigFile(config.text())
    editable = {field.name: field for field in FIELDS if field.editable(file)}
    first = [editable[name] for name in FIRST if name in editable]
    numbers = [field for field in first if field.kind != "list"]
    for column, field in zip(st.columns(len(numbers) or 1), numbers, strict=False):
        with column:
            _setting(workspace, config, field, field.read(file), locked)
    for field in first:
        if field not in numbers:
            _setting(workspace, config, field, field.read(file), locked)
    # Thirty settings are most of the page: they are drawn once somebody opens them.
    lid = st.expander(t("config.advanced"), icon=":material/settings:", key="more_settings", on_change="rerun")
    if lid.open:
        with lid:
            _more(workspace, config, models, data, [field for field in editable.values() if field not in first], locked)
    coded = [field.name for field in FIELDS if field.there(file) and not field.editable(file)]
    if coded:
        st.caption(t("config.by_code", names="、".join(f"`{name}`" for name in coded)))


def _more(
    workspace: Workspace, config: Config, models: list[str], data: list[str], fields: list[Field], locked: bool
) -> None:
    """Draw the settings that a beginner need not see, in groups, below the model and the dataset."""
    file = ConfigFile(config.text())
    left, right = st.columns(2)
    with left:
        _thing(workspace, config, "model", config.model, models, locked)
    with right:
        _thing(workspace, config, "dataset", config.dataset, data, locked)
    for group in GROUPS:
        shown = [field for field in fields if field.group == group]
        if not shown:
            continue
        st.caption(f"**{t(f'config.group_{group}')}**")
        columns = st.columns(2)
        for number, field in enumerate(shown):
            with columns[number % 2]:
                _setting(workspace, config, field, field.read(file), locked)


def _thing(workspace: Workspace, config: Config, what: str, name: str, names: list[str], locked: bool) -> None:
    key = f"set-{config.name}-{what}"
    _in_step(key, name)
    known = names if name in names else [name, *names]
    st.selectbox(
        t(f"config.{what}"),
        known,
        known.index(name),
        key=key,
        disabled=locked,
        help=t(f"config.{what}_help"),
        on_change=_commit,
        args=(workspace, config.name, what, key, None),
    )
    _refusal(key)


def _setting(workspace: Workspace, config: Config, field: Field, value: Any, locked: bool) -> None:
    key = f"set-{config.name}-{field.name}"
    shown = _shown(field, value)
    _in_step(key, shown)
    label, help_ = say(field.label), say(field.help)
    if not label.endswith(f" {field.name}"):
        label += f" `{field.name}`"
    common = {
        "key": key,
        "help": help_,
        "disabled": locked,
        "on_change": _commit,
        "args": (workspace, config.name, field.name, key, field),
    }
    if field.kind == "bool":
        st.toggle(label, bool(shown), wrap=True, **common)
    elif field.kind == "choice":
        words = {OWN: t("config.own_prompt")}
        show = lambda name: words.get(name, name)  # noqa: E731
        options = field.options()
        st.selectbox(label, options, _at(options, shown), placeholder=t("config.unset"), format_func=show, **common)
    elif field.kind in ("int", "float"):
        # A number is selected or typed in any notation: 0.0002 and 2e-4 are the same.
        here = filter(None, [shown, st.session_state.get(key)])
        picks = list(dict.fromkeys([*(_number(pick) for pick in field.picks), *here]))
        unset = t("config.unset")
        st.selectbox(label, picks, _at(picks, shown), placeholder=unset, accept_new_options=True, **common)
    elif field.kind == "list":
        st.text_area(label, shown or "", height=110, **common)
    else:
        st.text_input(label, shown or "", **common)
    _refusal(key)


def _at(options: list[Any], shown: Any) -> int | None:
    return options.index(shown) if shown in options else None


def _in_step(key: str, shown: Any) -> None:
    """Make the widget show what the file says, unless invalid input is waiting to be corrected.

    Each widget is also drawn with that value as its default: a value set only under its key is sent once and may be
    lost.
    """
    refused = st.session_state.get(_REFUSED, {})
    if key not in st.session_state:
        # It was not on the screen, and what was typed is gone.
        refused.pop(key, None)
    if key not in refused and st.session_state.get(key, _REFUSED) != shown:
        st.session_state[key] = shown


def _commit(workspace: Workspace, name: str, setting: str, key: str, field: Field | None) -> None:
    """Write the input to the file; invalid input is kept as typed, with the reason below."""
    refused = st.session_state.setdefault(_REFUSED, {})
    refused.pop(key, None)
    entered = st.session_state[key]
    if entered is None and not (field and field.optional):
        return
    try:
        configs.change(workspace, name, {setting: _meant(field, entered)})
    except StudioError as error:
        refused[key] = error.text


def _refusal(key: str) -> None:
    error = st.session_state.get(_REFUSED, {}).get(key)
    if error is not None:
        st.error(plain(say(error)), icon=":material/error:")


def _shown(field: Field, value: Any) -> Any:
    if value is None:
        return None
    if field.kind in ("int", "float"):
        return _number(value)
    return "\n".join(value) if field.kind == "list" else value


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _meant(field: Field | None, entered: Any) -> Any:
    """Convert the input to a value; if that fails, return the text, for core to reject."""
    if entered is None or field is None or field.kind not in ("int", "float", "list"):
        return entered
    if field.kind == "list":
        return [line.strip() for line in entered.splitlines() if line.strip()]
    try:
        return int(entered) if field.kind == "int" else float(entered)
    except ValueError:
        return entered
