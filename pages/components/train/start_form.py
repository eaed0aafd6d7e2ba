"""The form that starts a run or puts it into the queue: the config, and how several GPUs or machines share the work."""

from dataclasses import replace

import streamlit as st

from core.config import config as configs
from core.config.config import Config
from core.engine.cluster import DEFAULT_PORT, LAUNCHERS, Cluster
from core.engine.commands import as_typed, start_as_typed
from core.engine.presets import deepspeed_settings
from core.forecast.sharing import Share, fastest, shares
from core.ground.clock import since_boot
from core.ground.figures import size
from core.ground.gpu import gpus
from core.ground.problem import Problem
from core.ground.workspace import Workspace
from core.training import defaults
from core.training import run as runs
from core.training.cluster import own_address
from core.training.shown import worth_a_look
from pages.components.choice import choose, select
from pages.components.contents import link_to
from pages.components.gone import show_gone
from pages.components.plain import plain
from pages.components.problems import refusals
from pages.components.text import say, t
from pages.components.train.slurm import asked_of_slurm, has_slurm

# A second click on the same start within this time is a double click.
DOUBLE_CLICK_SECONDS = 5.0
_LAUNCHERS = {"pytorch": "torchrun", "slurm": "Slurm"}


def untried(workspace: Workspace) -> bool:
    """Return whether a config was created or changed since the last run that produced anything was started."""
    changed = [config.file.stat().st_mtime for config in configs.every(workspace)]
    began = [run.facts.created for run in runs.every(workspace) if worth_a_look(run)]
    return bool(changed) and max(changed) > max(began, default=0.0)


def show_start_form(workspace: Workspace, names: list[str]) -> None:
    """Draw the choice among the configs `names` and the start button, the next step if nothing is running."""
    with st.container(border=True):
        _form(workspace, names, busy=False, primary=True)


def show_start_lid(workspace: Workspace, names: list[str], *, busy: bool) -> None:
    """Draw the same in an expander, if something else comes first; `busy`: the new run is queued behind the current."""
    words, icon = (t("start.queue"), "playlist_add") if busy else (t("start.again"), "replay")
    lid = st.expander(words, icon=f":material/{icon}:", key="start_open", on_change="rerun")
    if lid.open:
        with lid:
            _form(workspace, names, busy=busy, primary=False)


def _form(workspace: Workspace, names: list[str], *, busy: bool, primary: bool) -> None:
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    with left:
        name = choose("config", names) or names[0]
    config, chosen = configs.find(workspace, name), None
    if show_gone(workspace, config, primary=primary):
        return
    clicked = right.button(
        t("start.queue") if busy else t("train.start"),
        type="primary" if primary else "secondary",
        icon=":material/playlist_add:" if busy else ":material/play_arrow:",
        width="stretch",
        key="start_training",
    )
    if busy:
        st.caption(t("start.queue_help"))
    if config.versions.draft is not None:
        st.warning(t("start.draft"), icon=":material/edit_note:")
        link_to("config", t("start.to_draft"), config=name)
    early_stop = _switch("early_stop", name, defaults.ends_early(workspace, name))
    by_itself = defaults.keeps(workspace, name)
    keep = by_itself is not None and _switch("keep", name, by_itself)
    with refusals(), st.expander(t("start.several"), expanded=len(gpus()) > 1, icon=":material/hub:"):
        chosen = _several(workspace, config, keep)
    if clicked and chosen:
        with refusals():
            _start(workspace, name, *chosen, early_stop, keep)


def _switch(what: str, config: str, by_itself: bool) -> bool:
    """Draw a switch with one line below it that says what it does; the details are in its help."""
    with st.container(gap=None):
        on = st.toggle(
            t(f"start.{what}"),
            value=by_itself,
            key=f"train_{what}-{config}",
            persist_state="session",
            help=t(f"start.{what}_help"),
        )
        st.caption(t(f"start.{what}_caption"))
    return on


def _start(
    workspace: Workspace, name: str, cluster: Cluster, deepspeed: str | None, early_stop: bool, keep: bool
) -> None:
    warnings: list[Problem] = []
    run = runs.start(
        workspace,
        name,
        cluster=cluster,
        deepspeed=deepspeed,
        asked=since_boot() - DOUBLE_CLICK_SECONDS,
        early_stop=early_stop,
        keep=keep,
        on_warning=warnings.append,
    )
    for warning in warnings:
        st.toast(
            f"{plain(say(warning.message))}  \n{plain(say(warning.hint))}", icon=":material/warning:", duration="long"
        )
    running = runs.running_here(workspace)
    if cluster.batch:
        select("run", run.id)
        st.toast(t("start.submitted"), icon=":material/playlist_add_check:")
    elif running is None or running.id == run.id:
        select("run", run.id)
    else:
        # The current run stays in view.
        st.toast(t("start.queued"), icon=":material/playlist_add_check:")
    st.rerun()


def _several(workspace: Workspace, config: Config, keep: bool) -> tuple[Cluster, str | None]:
    """Draw the fields for several processes and machines. Raises BadInput for invalid combinations."""
    st.caption(t("start.several_intro"))
    one, two, three = st.columns([1, 1, 2])
    cards, settings = gpus(), (None, *deepspeed_settings())
    by_itself, setting = fastest(config, configs.model_of(workspace, config), cards, keep=keep)
    nproc = int(_number(one, "nproc", 1, 64, by_itself))
    nnodes = int(_number(two, "nnodes", 1, 64, 1))
    deepspeed = three.selectbox(
        "DeepSpeed",
        settings,
        index=settings.index(setting),
        format_func=lambda name: name or t("start.no_deepspeed"),
        key="train_deepspeed",
        persist_state="session",
        help=t("start.deepspeed_help"),
    )
    if nproc * nnodes == 1 and deepspeed is None and not has_slurm():
        return Cluster(), None
    cluster = Cluster(nproc=nproc, nnodes=nnodes)
    if nproc * nnodes > 1 or has_slurm():
        cluster = _meeting(cluster)
    if not cluster.distributed and deepspeed is None:
        return cluster, None
    _show_shares(workspace, config, nproc * nnodes, deepspeed)
    if not cards and cluster.launcher == "pytorch":
        st.caption(t("start.no_gpu"))
    if nnodes > 1 or cluster.launcher == "slurm":
        _show_commands(config, cluster, deepspeed)
    return cluster, deepspeed


def _meeting(cluster: Cluster) -> Cluster:
    """Choose who starts the processes, and where they meet."""
    launcher = st.segmented_control(
        t("start.launcher"),
        LAUNCHERS,
        default="pytorch",
        format_func=_LAUNCHERS.get,
        key="train_launcher",
        persist_state="session",
        required=True,
    )
    if launcher == "slurm":
        return asked_of_slurm(cluster)
    if cluster.nnodes == 1:
        return cluster
    one, two, three = st.columns([1, 2, 1])
    rank = int(_number(one, "node_rank", 0, cluster.nnodes - 1, 0))
    addr = two.text_input(
        t("start.addr"), own_address(), key="train_addr", persist_state="session", help=t("start.addr_help")
    ).strip()
    port = int(_number(three, "port", 1, 65_535, DEFAULT_PORT))
    return replace(cluster, node_rank=rank, addr=addr, port=port)


def _number(place: "st.delta_generator.DeltaGenerator", name: str, least: int, most: int, value: int) -> float:
    return place.number_input(
        t(f"start.{name}"),
        least,
        most,
        value,
        key=f"train_{name}",
        persist_state="session",
        help=t(f"start.{name}_help"),
    )


def _show_shares(workspace: Workspace, config: Config, processes: int, chosen: str | None) -> None:
    """Draw what each process would hold with each setting, with the chosen one highlighted."""
    with refusals():
        model = configs.model_of(workspace, config)
        rows = [_row(share, chosen) for share in shares(config, model, processes)]
        st.table(rows, hide_index=True, border="horizontal")
        st.caption(t("start.shares", count=processes))


def _row(share: Share, chosen: str | None) -> dict[str, str]:
    split = t(f"start.stage_{share.stage}")
    moved = [
        t(f"start.offload_{what}")
        for what, there in (("optimizer", share.offload_optimizer), ("weights", share.offload_weights))
        if there
    ]
    name = plain(share.name or t("start.no_deepspeed"))
    return {
        "DeepSpeed": f"**{name}** :material/check:" if share.name == chosen else name,
        t("start.split"): " · ".join([split, *moved]),
        t("start.on_gpu"): size(share.gpu_bytes),
        t("start.on_host"): size(share.host_bytes or None),
    }


def _show_commands(config: Config, cluster: Cluster, deepspeed: str | None) -> None:
    """Draw the command for each machine: ours, which is monitored and can be stopped here, and XTuner's own."""
    if cluster.launcher == "slurm":
        st.caption(t("start.sbatch" if cluster.batch else "start.slurm"))
        lines = [_as_typed(config, cluster, deepspeed)]
        st.code("\n".join(lines), language="bash", wrap_lines=True)
        return
    st.caption(t("start.nodes", port=cluster.port or DEFAULT_PORT, addr=plain(cluster.addr)))
    for rank, line in enumerate(start_as_typed(config.name, cluster, deepspeed)):
        st.markdown(t("start.node_here" if rank == cluster.node_rank else "start.node", rank=rank))
        st.code(line, language="bash", wrap_lines=True)
    with st.popover(t("start.xtuner_alone"), icon=":material/terminal:"):
        for rank in range(cluster.nnodes):
            st.code(_as_typed(config, replace(cluster, node_rank=rank), deepspeed), language="bash", wrap_lines=True)


def _as_typed(config: Config, cluster: Cluster, deepspeed: str | None) -> str:
    work_dir = config.path.parent.parent / "work_dirs" / config.name
    return as_typed(
        config.file, work_dir, cluster=cluster, deepspeed=deepspeed, resume=None, gpu=config.facts.get("gpu", True)
    )
