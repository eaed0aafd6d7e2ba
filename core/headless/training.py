"""`train …`: start, watch, stop, resume and list runs."""

from core.engine.commands import Cluster
from core.ground.errors import WorkFailed
from core.ground.workspace import Workspace
from core.headless.command import RUN, WAIT, Answer, Options, Table, show_progress
from core.jobs.job import Status
from core.training import run as runs

CLUSTER = [
    (("--nproc",), {"type": int, "default": 1}),
    (("--nnodes",), {"type": int, "default": 1}),
    (("--node-rank",), {"type": int, "default": 0}),
    (("--addr",), {"default": "127.0.0.1"}),
    (("--port",), {"type": int, "default": 29500}),
    (("--deepspeed",), {}),
]


def state_answer(run: runs.Run) -> Answer:
    state = run.state()
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
    }


def followed(run: runs.Run, wait: bool) -> Answer:
    """Where a run stands; with `wait`, when it is over. Raises WorkFailed where it did not finish."""
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
    cluster = Cluster(
        nproc=options.nproc, nnodes=options.nnodes, node_rank=options.node_rank, addr=options.addr, port=options.port
    )
    return followed(runs.start(workspace, options.config, cluster=cluster, deepspeed=options.deepspeed), options.wait)


def train_status(workspace: Workspace, options: Options) -> Answer:
    return state_answer(runs.find(workspace, options.run))


def train_stop(workspace: Workspace, options: Options) -> Answer:
    run = runs.find(workspace, options.run)
    run.stop(discard=options.discard)
    return state_answer(run)


def train_resume(workspace: Workspace, options: Options) -> Answer:
    return followed(runs.resume(workspace, runs.find(workspace, options.run)), options.wait)


def train_list(workspace: Workspace, _: Options) -> Answer:
    return {"runs": [state_answer(run) for run in runs.every(workspace)]}


def train_metrics(workspace: Workspace, options: Options) -> Answer:
    return {"points": runs.find(workspace, options.run).metrics().read()}


COMMANDS: Table = {
    "train start": (train_start, [(("config",), {}), *CLUSTER, WAIT]),
    "train status": (train_status, [RUN]),
    "train stop": (train_stop, [RUN, (("--discard",), {"action": "store_true"})]),
    "train resume": (train_resume, [RUN, WAIT]),
    "train list": (train_list, []),
    "train metrics": (train_metrics, [RUN]),
}
