"""The cost of watching a run: opening its page, each refresh, and the slowdown of training.

A run with 1,000, 10,000 and 100,000 logged iterations (the last with a day of telemetry) continues training in a real
process, and a real browser watches it through a real server:

    open_cold_s      first look at the run by this server: click to chart on the screen, all history read
    open_s           the same again: another tab, or after a reload
    refresh_cpu_ms   CPU time of the server per refresh, every two seconds: script, sending and all, less
                     what the server takes without a viewer
    refresh_kb       bytes that one refresh sends to the browser: median and maximum

    python -m benchmarks.monitor [--overhead-only | --page-only] [--rounds N]
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import interleaved, say, spread, write
from core.config import config as configs
from core.data import dataset as datasets
from core.engine import commands
from core.ground.workspace import PROJECT, Workspace
from core.jobs.job import Job, wait_until
from core.jobs.telemetry import EVERY_SECONDS, LATER, LATER_SECONDS, Sampler
from core.training import run as runs
from core.training.run import Run
from tests.fakes.model import write_model

CHROMIUM = "/usr/bin/chromium"
TICKS = 20
Figures = dict[str, Any]


def history(run: Run, points: int, hours: float) -> None:
    """Write what XTuner and the supervisor would have written by now, and a checkpoint to resume from."""
    rng = random.Random(0)
    directory = run.work_dir / "20000101_000000" / "vis_data"
    directory.mkdir(parents=True)
    with (directory / "scalars.json").open("w") as file:
        for at in range(1, points + 1):
            loss = 3 * math.exp(-8 * at / points) + 0.4 + rng.gauss(0, 0.1)
            point = {"lr": 2e-4 * (1 + math.cos(math.pi * at / points)) / 2, "data_time": 0.0026, "grad_norm": rng.gauss(1, 0.1),
                     "loss": loss, "time": rng.gauss(0.86, 0.02), "iter": at, "step": at, "memory": 6300}  # fmt: skip
            file.write(json.dumps(point) + "\n")
    sample = Sampler(pid=os.getpid(), disk=run.path).sample()
    card = {"index": 0, "instance": None, "slice": None, "name": "NVIDIA A100-SXM4-80GB", "used_mb": 41000, "total_mb": 81920,
            "utilisation": 90, "temperature": 60, "power_w": 280, "ours_mb": 6300}  # fmt: skip
    seconds, now = 0.0, time.time() - hours * 3600
    with run.telemetry.open("w") as file:
        while seconds < hours * 3600:
            cards = [{**card, "index": 0, "utilisation": rng.randint(80, 99), "power_w": rng.randint(200, 300)}]
            done = int(points * seconds / (hours * 3600))
            cuda = {"index": 0, "used_mb": 6234, "total_mb": 8182, "reserved_mb": 6000, "peak_mb": 6100}
            told = {**sample, "t": round(now + seconds, 2), "cpu": rng.random() * 100, "gpus": cards, "iter": done,
                    "at": round(now + seconds, 2), "cuda": cuda}  # fmt: skip
            file.write(json.dumps(told, separators=(",", ":")) + "\n")
            seconds += EVERY_SECONDS if seconds < LATER else LATER_SECONDS
    with zipfile.ZipFile(run.work_dir / f"iter_{points}.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")


def prepared(root: Path, points: int, hours: float) -> tuple[Workspace, Run]:
    """Return a run with this many points that continues training, two iterations a second."""
    workspace = Workspace.open(root)
    os.environ["XTUNER_STUDIO_HOME"] = str(root)
    commands.ENTRY = "tests.fakes.trainer"
    write_model(workspace.model("demo"), demo=True)
    dataset = datasets.make_assistant(workspace, "小明")
    config = configs.make(workspace, model="demo", dataset=dataset.name, recipe="fast")
    os.environ |= {
        "XTUNER_STUDIO_FAKE_TRAINER": "fail",
        "XTUNER_STUDIO_FAKE_TRAINER_ITERS": "2",
        "XTUNER_STUDIO_FAKE_TRAINER_SECONDS": "0",
    }
    run = runs.start(workspace, config.name)
    run.job.wait(30)
    shutil.rmtree(run.work_dir)
    history(run, points, hours)
    os.environ |= {
        "XTUNER_STUDIO_FAKE_TRAINER": "slow",
        "XTUNER_STUDIO_FAKE_TRAINER_ITERS": str(points + 100_000),
        "XTUNER_STUDIO_FAKE_TRAINER_SECONDS": "0.5",
        # A real run does not save every two seconds.
        "XTUNER_STUDIO_FAKE_TRAINER_EVERY": "60",
    }
    run = runs.resume(workspace, run)
    wait_until(lambda: run.job.progress.get("iter", 0) > points, 30)
    return workspace, run


@contextlib.contextmanager
def served(root: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Serve the app on a free port; yields its address and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
        cwd=PROJECT,
        env={**os.environ, "XTUNER_STUDIO_HOME": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def up() -> bool:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).status == 200
        return False

    try:
        if not wait_until(up, 60):
            raise RuntimeError("the app did not come up")
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def looked_at(root: Path, run: Run) -> Figures:
    """Open the page of a run twice, and watch it for some refreshes."""
    from playwright.sync_api import sync_playwright

    with served(root) as (address, server), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        # Fill the browser's cache, including the chart library, from a page that shows no run.
        page.goto(address)
        page.wait_for_selector("h1")
        page.goto(f"{address}/report")
        page.wait_for_selector("h1")

        def opened() -> float:
            began = time.perf_counter()
            page.goto(f"{address}/train?run={run.id}")
            page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
            return time.perf_counter() - began

        opened_cold, again = opened(), [opened() for _ in range(3)]
        page.close()
        page = context.new_page()
        frames: list[tuple[float, int]] = []
        page.on(
            "websocket", lambda socket: socket.on("framereceived", lambda data: frames.append((time.time(), len(data))))
        )
        page.goto(f"{address}/train?run={run.id}")
        page.wait_for_selector(".js-plotly-plot .main-svg", timeout=60_000)
        page.wait_for_timeout(6_000)
        frames.clear()
        before, began = server.cpu_times(), time.time()
        page.wait_for_timeout(TICKS * 2_000)
        after, seconds, memory = server.cpu_times(), time.time() - began, server.memory_info().rss
        browser.close()
        time.sleep(3)
        at_rest, resting = server.cpu_times(), time.time()
        time.sleep(TICKS * 2)
        rested = server.cpu_times()
        idle = (rested.user + rested.system - at_rest.user - at_rest.system) / (time.time() - resting)
    bursts = grouped(frames)
    ticks = max(1, len(bursts))
    spent = (after.user + after.system) - (before.user + before.system)
    return {
        "open_cold_s": opened_cold,
        "open_s": statistics.median(again),
        "refreshes": ticks,
        "refresh_cpu_ms": 1000 * (spent - idle * seconds) / ticks,
        "refresh_kb": {"median": statistics.median(bursts) / 1000, "most": max(bursts) / 1000},
        "server_cpu_percent": 100 * spent / seconds,
        "idle_cpu_percent": 100 * idle,
        "server_mb": round(memory / 2**20),
    }


def grouped(frames: list[tuple[float, int]], apart: float = 0.8) -> list[int]:
    """Return the bytes of each refresh: frames less than `apart` seconds apart belong together."""
    bursts: list[int] = []
    last = -math.inf
    for at, size in frames:
        if at - last > apart:
            bursts.append(0)
        bursts[-1] += size
        last = at
    return bursts or [0]


def overhead(root: Path, run: Run, rounds: int) -> Figures:
    """Run the same computation on all cores as a job: unwatched (no telemetry, no tab) and watched (both), in turn."""
    work = (
        "import numpy as np, time\n"
        "a = np.random.default_rng(0).normal(size=(1200, 1200))\n"
        "began = time.perf_counter()\n"
        "for _ in range(300): a = np.tanh(a @ a / 1200)\n"
        "print(time.perf_counter() - began)\n"
    )
    taken: dict[str, list[float]] = {"off": [], "on": []}
    # Percent of the machine's cores that the server takes without and with a viewer, and that the supervisor takes.
    shares: dict[str, list[float]] = {"server_at_rest": [], "server": [], "supervisor": []}

    with served(root) as (address, server):

        def compute(way: str, **watched: Path) -> None:
            job = Job.start(root / "jobs", "work", [sys.executable, "-c", work], **watched)
            supervisor = psutil.Process(job.pids["supervisor"].pid)
            looks = []
            while job.status().live:
                with contextlib.suppress(psutil.Error):
                    looks.append((time.time(), cpu(server), cpu(supervisor)))
                time.sleep(0.5)
            taken[way].append(float(job.log_tail().split()[-1]))
            seconds, *spent = (b - a for a, b in zip(looks[0], looks[-1], strict=True))
            names = ("server", "supervisor") if way == "on" else ("server_at_rest",)
            for name, cpu_seconds in zip(names, spent, strict=False):
                shares[name].append(100 * cpu_seconds / seconds / (psutil.cpu_count() or 1))

        def off() -> None:
            compute("off")

        def on() -> None:
            tab = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.tab", address, "train", f"run={run.id}"], cwd=PROJECT
            )
            try:
                time.sleep(5)
                compute("on", telemetry=root / "telemetry.jsonl")
            finally:
                tab.terminate()
                tab.wait(10)

        # The first look reads the entire history, which is not part of watching.
        on()
        for figures in (taken["on"], *shares.values()):
            figures.clear()
        interleaved(off, on, rounds)
    watching = [on - off + beside for off, on, beside in zip(*shares.values(), strict=True)]
    return {
        "slowdown_percent": spread([100 * (b / a - 1) for a, b in zip(taken["off"], taken["on"], strict=True)]),
        "slowdown_of_medians_percent": 100 * (statistics.median(taken["on"]) / statistics.median(taken["off"]) - 1),
        "seconds": taken,
        # What watching can take from a run that uses every core: the server's additional share, and the supervisor.
        "cpu_percent_of_machine": {
            "watching": spread(watching),
            **{name: spread(share) for name, share in shares.items()},
        },
    }


def cpu(process: psutil.Process) -> float:
    """Return the CPU seconds of a process so far."""
    times = process.cpu_times()
    return times.user + times.system


def main(options: argparse.Namespace) -> None:
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="monitor-") as directory:
        root = Path(directory)
        if not options.overhead_only:
            for points in options.points:
                hours = 24 * points / 100_000
                say(f"{points} points, {hours:.2f} h")
                _, run = prepared(root / str(points), points, hours)
                try:
                    figures[f"points_{points}"] = looked_at(root / str(points), run)
                finally:
                    run.stop(discard=True)
                say(json.dumps(figures[f"points_{points}"]))
        if not options.page_only:
            say("overhead")
            _, run = prepared(root / "overhead", 10_000, 2.5)
            try:
                figures["overhead"] = overhead(root / "overhead", run, options.rounds)
            finally:
                run.stop(discard=True)
    write("monitor", figures, partly=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for flag in ("--overhead-only", "--page-only"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--points", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    main(parser.parse_args())
