"""Export and import of configs: save as, download, the user's own recipes, a config file from elsewhere."""

import json

import streamlit as st

from core.config import config as configs
from core.config import exchange, own_recipe
from core.config.config import Config
from core.engine.config_text import decoded
from core.ground.workspace import Workspace
from pages.components.choice import select
from pages.components.plain import DONE
from pages.components.problems import refusals
from pages.components.text import t

_KEEP = "–"
# A config or recipe is a few pages of text.
_MOST_MB = 2


def show_outgoing(workspace: Workspace, config: Config) -> None:
    """Draw save as, save as recipe and download in one row."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.popover(t("config.save_as"), icon=":material/content_copy:"), refusals():
            name = st.text_input(t("config.new_name"), key="save_as_name", placeholder=f"{config.name}-2")
            if st.button(t("config.save_as_do"), key="save_as", disabled=not name):
                made = configs.save_as(workspace, config.name, name)
                select("config", made.name)
                st.toast(t("config.made", name=made.name), icon=DONE)
                st.rerun()
        with st.popover(t("config.as_recipe"), icon=":material/bookmark_add:"), refusals():
            st.caption(t("config.as_recipe_help"))
            name = st.text_input(t("config.recipe_name"), key="recipe_name")
            about = st.text_input(t("config.recipe_about"), key="recipe_about")
            if st.button(t("config.as_recipe_do"), key="save_recipe", disabled=not name):
                own_recipe.save(
                    workspace, name, about, preset=config.facts["preset"], text=config.text(), base=config.base_text()
                )
                st.toast(t("config.recipe_saved", name=name), icon=DONE)
        st.download_button(
            t("config.download"),
            config.text(),
            exchange.file_name(config),
            "text/x-python",
            icon=":material/download:",
            key="download_config",
            help=t("config.download_help", name=exchange.file_name(config)),
        )


def show_incoming(workspace: Workspace, models: list[str], data: list[str]) -> None:
    """Import a config file or a recipe file; share and delete the user's own recipes."""
    left, right = st.columns(2, gap="large")
    with left, refusals():
        file = st.file_uploader(t("config.import_file"), type=["py"], key="import_config", max_upload_size=_MOST_MB)
        st.caption(t("config.import_help"))
        model = st.selectbox(t("config.import_model"), [_KEEP, *models], key="import_model")
        dataset = st.selectbox(t("config.import_dataset"), [_KEEP, *data], key="import_dataset")
        if st.button(t("config.import_do"), key="do_import", icon=":material/upload:", disabled=file is None):
            made = exchange.take(
                workspace,
                file.name,
                decoded(file.getvalue(), file.name),
                model=None if model == _KEEP else model,
                dataset=None if dataset == _KEEP else dataset,
            )
            select("config", made.name)
            st.toast(t("config.made", name=made.name), icon=DONE)
            st.rerun()
    with right, refusals():
        file = st.file_uploader(t("config.import_recipe"), type=["json"], key="import_recipe", max_upload_size=_MOST_MB)
        if st.button(t("config.import_recipe_do"), key="do_import_recipe", disabled=file is None):
            made = own_recipe.take(workspace, decoded(file.getvalue(), file.name))
            st.toast(t("config.recipe_saved", name=made.name), icon=DONE)
            st.rerun()
        for recipe in own_recipe.every(workspace):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"`{recipe.name}`")
                st.download_button(
                    t("config.share"),
                    json.dumps(recipe.to_json(), ensure_ascii=False, indent=2),
                    f"{recipe.name}.json",
                    "application/json",
                    key=f"share-{recipe.name}",
                    icon=":material/share:",
                )
                with st.popover(t("config.remove"), icon=":material/delete:"):
                    st.markdown(t("config.remove_sure", name=recipe.name))
                    st.button(
                        t("config.remove"),
                        key=f"remove-{recipe.name}",
                        type="primary",
                        on_click=own_recipe.remove,
                        args=(workspace, recipe.name),
                    )
