"""A new config: model, data, recipe and one of XTuner's presets, with an explanation of each part of its name."""

import streamlit as st

from core.config import config as configs
from core.config import own_recipe
from core.config.proposal import fits_machine, propose
from core.config.recipe import RECIPES
from core.engine import interpreter
from core.engine.catalogue import PresetName, catalogue, search
from core.ground.gpu import gpus
from core.ground.workspace import Workspace
from core.models import model as models
from core.models.model import Model
from pages.components.choice import choose, select
from pages.components.plain import DONE
from pages.components.problems import refusals
from pages.components.text import language, say, t

COLUMNS = ("preset", "model", "method", "fits_model", "fits_machine", "kind", "data", "notes")
METHODS = ("qlora", "lora", "full")


def show_new(workspace: Workspace, whole: list[str], data: list[str], *, first: bool) -> None:
    """Draw the choices and the button that creates the config. `first`: there is none yet, so this is the next step."""
    left, right = st.columns(2)
    with left:
        model = models.find(
            workspace, st.selectbox(t("choice.model"), whole, key="config_model", persist_state="session")
        )
        dataset = choose("dataset", data)
        name = st.text_input(t("config.name"), key="config_name", help=t("config.name_help"))
    with right:
        own = {recipe.name: recipe for recipe in own_recipe.every(workspace)}
        recipe = st.selectbox(
            t("config.recipe"),
            ("fast", *(name for name in RECIPES if name != "fast"), *own),
            format_func=lambda name: own[name].name if name in own else t(f"config.recipe_{name}"),
            key="config_recipe",
            persist_state="session",
        )
        if recipe in own:
            st.caption(own[recipe].about or t("config.recipe_own", preset=own[recipe].preset))
            preset = None
        else:
            st.caption(t(f"config.recipe_{recipe}_caption"))
            preset = _preset(workspace, model, recipe)
    kind = "primary" if first else "secondary"
    if st.button(t("config.make"), type=kind, icon=":material/add:", key="make_config"):
        with refusals():
            made = configs.make(
                workspace, model=model.name, dataset=dataset, preset=preset, recipe=recipe, name=name or None
            )
            select("config", made.name)
            st.toast(t("config.made", name=made.name), icon=DONE)
            st.rerun()


def show_catalogue(workspace: Workspace, model: Model | None) -> None:
    """Draw all presets in a table with search, filter and sorting."""
    left, right = st.columns([3, 2])
    words = left.text_input(t("config.search"), key="preset_words", placeholder="internlm2 qlora medical")
    method = right.segmented_control(t("config.by_method"), METHODS, key="preset_method")
    xtuner = interpreter.xtuner_directory(workspace)
    found = search(words or "", xtuner, method=method)
    memory = _memory_mb()
    if model is not None:
        found.sort(key=lambda preset: not preset.fits(model.architecture))
    # With hundreds of rows, look up the texts only once.
    spoken, names = language(), [t(f"config.column_{name}") for name in COLUMNS]
    kinds = {kind: t(f"config.kind_{kind}") for kind in {preset.kind for preset in found}}
    rows = [
        dict(
            zip(
                names,
                (
                    preset.name,
                    preset.model,
                    preset.method,
                    _yes(preset.fits(model.architecture) if model else None),
                    _yes(fits_machine(preset, model, memory)),
                    kinds[preset.kind],
                    preset.data.in_(spoken),
                    " · ".join(note.in_(spoken) for note in preset.notes),
                ),
                strict=True,
            )
        )
        for preset in found
    ]
    st.caption(t("config.found", count=len(found), all=len(catalogue(xtuner))))
    st.dataframe(rows, hide_index=True, height=320)


def _preset(workspace: Workspace, model: Model, recipe: str) -> str:
    xtuner = interpreter.xtuner_directory(workspace)
    known, proposed = catalogue(xtuner), propose(model, recipe, xtuner)
    mine = st.toggle(t("config.for_model"), True, key="preset_for_model", help=t("config.for_model_help"))
    names = [preset.name for preset in search("", xtuner, architecture=model.architecture)] if mine else list(known)
    names = [proposed, *(name for name in names if name != proposed)]
    chosen = st.selectbox(
        t("config.preset", count=len(names)),
        names,
        format_func=lambda name: _meaning(known[name], name == proposed),
        key=f"config_preset_{recipe}_{model.name}_{mine}",
        help=t("config.preset_help"),
    )
    return chosen


def _meaning(preset: PresetName, proposed: bool) -> str:
    words = [t(f"config.kind_{preset.kind}"), preset.method, say(preset.data), *map(say, preset.notes)]
    mark = f"{t('config.proposed')} · " if proposed else ""
    return f"{preset.name}  ({mark}{' · '.join(words)})"


def _memory_mb() -> float | None:
    cards = gpus()
    return cards[0]["total_mb"] if cards else None


def _yes(fits: bool | None) -> str:
    return "–" if fits is None else "✓" if fits else "✗"
