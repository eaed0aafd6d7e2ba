"""`train …`: start, watch, stop, resume and list runs; show and reorder the queue."""

import argparse
import os
import sys
from dataclasses import asdict

from core.config import config as configs
from core.engine.cluster import LAUNCHERS, LOOPBACK, Cluster
from core.ground.errors import BadInput, WorkFailed
from core.ground.workspace import Workspace
from core.headless.command import RUN, WAIT, Answer, Options, Table, show_progress
from core.headless.configs import AGREE, KEEP, agree_to
from core.jobs.job import Status
from core.jobs.process import Identity
from core.training import run as runs
from core.training import shelf
from core.training.cluster import own_address

CLUSTER = [
    (("--nproc",), {"type": int, "default": 1, "help": "processes per machine, one per GPU"}),
    (("--nnodes",), {"type": int, "default": 1, "help": "machines"}),
    (("--node-rank",), {"type": int, "default": 0, "help": "rank of this machine, from 0"}),
    (("--addr",), {"help": "address of machine 0 (default: this machine's)"}),
    (
        ("--port",),
        {"type": int, "help": "a free port on machine 0 (default: 29500; any free one for a single machine)"},
    ),
    (("--deepspeed",), {"help": "deepspeed_zero1, deepspeed_zero2, …"}),
    (("--launcher",), {"choices": LAUNCHERS, "default": "pytorch"}),
    (("--partition",), {"help": "Slurm partition"}),
    (("--batch",), {"action": "store_true", "help": "submit with sbatch: needs this machine no more"}),
    (("--time",), {"help": "time limit for Slurm, such as 90 (minutes), 2:00:00, 1-12"}),
    (("--slurm-options",), {"default": "", "help": "further options for Slurm, such as '--account=lab --mem=64G'"}),
]

EARLY_STOP = (
    ("--early-stop",),
    {
        "action": argparse.BooleanOptionalAction,
        "help": "stop once the identity is learned and other answers are kept; default: set by the recipe",
    },
)


def state_answer(run: runs.Run) -> Answer:
    state, learned = run.state(), run.learned
    return {
        "run": state.run,
        "status": str(state.status),
        "pid": state.pid,
        "iter": state.iter,
        "max_iters": state.max_iters,
        "eta_s": state.eta_s,
        "loss": state.loss,
        "exit_code": state.exit_code,
        "reason": str(state.reason) if state.reason else None,
        "place": state.place,
        "slurm": asdict(state.slurm) if state.slurm else None,
        "early_stop": learned.to_json() if learned else None,
    }


def followed(run: runs.Run, wait: bool) -> Answer:
    """Return the state of a run; with `wait`, once it has ended. Raises WorkFailed if it did not finish."""
    if wait and run.job:
        run.job.wait(on_progress=show_progress)
    answer = state_answer(run)
    if wait and answer["status"] != Status.FINISHED:
        why = run.state().reason
        raise WorkFailed(
            f"训练 {run.id} 没有完成（{answer['status']}）：{why.zh if why else ''}",
            f"the run {run.id} did not finish ({answer['status']}): {why.en if why else ''}",
        )
    return answer


def train_start(workspace: Workspace, options: Options) -> Answer:
    if options.nnodes > 1 and options.node_rank > 0 and options.addr is None:
        raise BadInput(
            "缺少 --addr：填 0 号机器的 IP 地址，那里的 train start 会打印完整的命令",
            "--addr is missing: give the address of machine 0; its train start prints the complete command",
        )
    cluster = Cluster(
        nproc=options.nproc,
        nnodes=options.nnodes,
        node_rank=options.node_rank,
        addr=options.addr or (own_address() if options.nnodes > 1 else LOOPBACK),
        port=options.port,
        launcher=options.launcher,
        partition=options.partition,
        batch=options.batch,
        time=options.time,
        options=options.slurm_options,
    )
    config = configs.find(workspace, options.config)
    agree_to(workspace, config.file, config.facts["preset"], options.agree)
    # The same command issued twice before the first one's answer is one request; issued afterwards, a second.
    typed = Identity.of(os.getpid())
    run = runs.start(
        workspace,
        options.config,
        cluster=cluster,
        deepspeed=options.deepspeed,
        asked=typed.started if typed else None,
        early_stop=options.early_stop,
        keep=options.keep,
        on_warning=lambda warning: print(f"{warning.where}: {warning.message}; {warning.hint}", file=sys.stderr),
    )
    if run.facts.commands:
        print("\n".join(run.facts.commands), file=sys.stderr)
    answer = followed(run, options.wait)
    return {**answer, "commands": run.facts.commands} if run.facts.commands else answer


def train_status(workspace: Workspace, options: Options) -> Answer:
    return state_answer(runs.find(workspace, options.run))


def train_stop(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    run.stop(discard=options.discard)
    return state_answer(run)


def train_resume(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    agree_to(workspace, run.config, run.facts.config.preset, options.agree)
    return followed(runs.resume(workspace, run), options.wait)


def train_queue(workspace: Workspace, _: Options) -> Answer:
    return {"runs": [state_answer(run) for run in runs.queued(workspace)]}


def train_move(workspace: Workspace, options: Options) -> Answer:
    runs.move(workspace, runs.find(workspace, options.run), options.place)
    return train_queue(workspace, options)


def train_list(workspace: Workspace, _: Options) -> Answer:
    return {"runs": [{**state_answer(run), "name": shelf.name_of(run)} for run in runs.every(workspace)]}


def train_metrics(workspace: Workspace, options: Options) -> Answer:
    return {"points": runs.find(workspace, options.run).metrics().read()}


COMMANDS: Table = {
    "train start": (train_start, [(("config",), {}), EARLY_STOP, KEEP, *CLUSTER, WAIT, AGREE]),
    "train status": (train_status, [RUN]),
    "train stop": (train_stop, [RUN, (("--discard",), {"action": "store_true"})]),
    "train resume": (train_resume, [RUN, WAIT, AGREE]),
    "train queue": (train_queue, []),
    "train move": (train_move, [RUN, (("place",), {"type": int, "help": "1: next"})]),
    "train list": (train_list, []),
    "train metrics": (train_metrics, [RUN]),
}
