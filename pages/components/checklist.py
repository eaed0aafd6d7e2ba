"""The assignment's steps, ticked from what is on disk, each with a link to where it is done."""

import streamlit as st

from core.chat.score import stored
from core.config import config as configs
from core.data import dataset as datasets
from core.engine import model as models
from core.export.export import exported
from core.ground.workspace import Workspace
from core.jobs.job import Status
from core.report import writeup
from core.training import run as runs
from pages.components.contents import link_to
from pages.components.plain import DONE, PENDING
from pages.components.text import t

PLACES = {
    "model": "setup",
    "dataset": "dataset",
    "config": "config",
    "trained": "train",
    "converted": "export",
    "merged": "export",
    "scored": "chat",
    "reported": "report",
}


def facts(workspace: Workspace) -> dict[str, bool]:
    """Which steps have been done, in any run."""
    trained = [run for run in runs.every(workspace) if (job := run.job) and job.status() is Status.FINISHED]
    exports = [exported(run) for run in trained]
    return {
        "model": any(model.whole for model in models.every(workspace)),
        "dataset": bool(datasets.every(workspace)),
        "config": bool(configs.every(workspace)),
        "trained": bool(trained),
        "converted": any(found.adapter for found in exports),
        "merged": any(found.merged for found in exports),
        "scored": any(stored(run) for run in trained),
        "reported": any(writeup.there(run) for run in trained),
    }


def show_checklist(workspace: Workspace) -> None:
    """The steps, and how many are done."""
    done = facts(workspace)
    st.subheader(t("checklist.title", done=sum(done.values()), all=len(done)), anchor=False)
    for step, ticked in done.items():
        words = t(f"checklist.{step}")
        if step == "model" and not ticked:
            words += t("checklist.below")
        link_to(PLACES[step], words, DONE if ticked else PENDING)
