"""Slurm on the Train page: what a start asks it for, and what it says about a run."""

import shutil
import time
from dataclasses import replace

import streamlit as st

from core.engine.cluster import Cluster
from core.ground.figures import duration
from core.jobs.slurm import SlurmJob
from pages.components.plain import plain
from pages.components.text import say, t


def has_slurm() -> bool:
    """Return whether runs can be started with Slurm from this machine."""
    return shutil.which("srun") is not None


def asked_of_slurm(cluster: Cluster) -> Cluster:
    """Draw the fields for Slurm, and return the cluster with them. Raises BadInput for invalid values."""
    one, two, three = st.columns([1, 1, 2])
    partition = _text(one, "partition", t("start.partition_help"))
    limit = _text(two, "time", t("start.time_help"))
    options = _text(three, "slurm_options", t("start.slurm_options_help"))
    batch = shutil.which("sbatch") is not None and st.toggle(
        t("start.batch"), value=True, key="train_batch", persist_state="session", help=t("start.batch_help")
    )
    return replace(
        cluster, launcher="slurm", partition=partition or None, batch=batch, time=limit or None, options=options
    )


def _text(place: "st.delta_generator.DeltaGenerator", name: str, words: str) -> str:
    return place.text_input(t(f"start.{name}"), key=f"train_{name}", persist_state="session", help=words).strip()


def waiting_line(job: SlurmJob) -> str:
    """Format a line such as `Waiting in Slurm, position 2 of 5 in lab · Slurm: Resources`."""
    if job.place:
        words = t("slurm.place", place=job.place, of=job.of, partition=plain(job.partition))
    else:
        words = t("slurm.waits")
    return f"{words} · {t('slurm.why', why=plain(job.why))}" if job.why else words


def show_slurm_job(job: SlurmJob) -> None:
    """Draw the Slurm job's number and nodes, why it may never begin, and whether Slurm answers."""
    facts = [t("slurm.unsure") if job.id is None else t("slurm.job", id=job.id)]
    facts += [f"{t('slurm.nodes')} {plain(job.nodes)}"] if job.nodes else []
    st.caption(" · ".join(facts))
    if job.waiting and job.why.endswith(("Limit", "BadConstraints", "AccountNotAllowed", "QOSNotAllowed")):
        st.warning(t("slurm.never", why=plain(job.why)), icon=":material/block:")
    if job.silent_since:
        quiet = max(0.0, time.time() - job.silent_since)
        st.warning(t("slurm.silent", time=say(duration(quiet))), icon=":material/cloud_off:")
