"""Endurance: one run after the other, two tabs that come and go, random kills; nothing may be lost or left over.

    python -m benchmarks.soak [--minutes 40] [--seed N] [--hurry 1] [--trace FILE]

The engine is the tests' fake one; everything else is real: the app's server, its jobs and their supervisors. A run is
left alone, stopped, or killed (the trainer, its supervisor, the guard behind that, or all of them) and then resumed;
its points and checkpoints must exist, each iteration once. No page may show an exception. At the end none of its processes may be alive, and the
server must have no more descriptors and threads than when it was warm. Both are counted without tabs: Streamlit
remembers the page of a closed tab for a while (three descriptors) and forgets it when the next one closes.

All pages are opened first, so that everything loaded once is loaded. The server's own memory, without the files it
maps, is sampled every few seconds; the minimum of each two minutes counts, since free memory is returned once a minute.
In a run of forty minutes or more, the slope after the first ten must be below 1 MB an hour; its 95 % interval is about
as wide as that, because each minimum scatters by some tenths of a MB. Exits with 1 if any of this fails. `--trace` shows what grows (`inside`); with `--hurry` tabs come and go more often.
"""

import argparse
import contextlib
import math
import os
import random
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import inside
from benchmarks.measure import say, write
from benchmarks.tab import Tab
from core.config import config as configs
from core.data import dataset as datasets
from core.engine import commands
from core.ground.errors import BadInput
from core.ground.workspace import Workspace
from core.jobs.job import Status, wait_until
from core.training import run as runs
from core.training import shelf
from core.training.run import Run
from tests.e2e.server import Server
from tests.fakes.model import write_model

PAGES = ("", "dataset", "config", "train", "train", "train", "export", "chat", "report")
WARM_SECONDS = 600.0
EVERY_SECONDS = 3.0
# The server returns free memory twice within this time.
FLOOR_SECONDS = 120.0
# A closed tab is forgotten after this time; the app's own setting, an hour, is longer than this run may take.
FORGOTTEN_SECONDS = 30
MOST_MB_AN_HOUR = 1.0
KEPT_RUNS = 4


class Tabs:
    """Two tabs, each on a page for a while, then on another one or closed."""

    def __init__(self, address: str, chance: random.Random, hurry: float) -> None:
        self.address, self.chance, self.hurry = address, chance, hurry
        self.there: list[Tab | None] = [None, None]
        self.until = [0.0, 0.0]
        self.opened = 0
        # The tracebacks are in the server's log.
        self.errors: list[str] = []

    def turn(self) -> None:
        """Close the tabs whose time is over and open others."""
        for place in (0, 1):
            if time.monotonic() < self.until[place]:
                continue
            away = self.there[place] is None
            self.close(place)
            if away or self.chance.random() < 0.7:
                self.there[place] = self._tab(self.chance.choice(PAGES))
            self.until[place] = time.monotonic() + self.chance.uniform(3, 30) / self.hurry

    def once_round(self) -> None:
        """Open every page, so that everything loaded once is loaded before anything is counted."""
        for page in dict.fromkeys(PAGES):
            self.look(page)
        # Streamlit's logger loads its dependencies with its first line.
        self.look("", gone=True)

    def look(self, page: str, *, gone: bool = False) -> None:
        """Open a page, and close it once it is drawn."""
        tab = self._tab(page)
        tab.drawn.wait(60)
        if gone:
            tab.drawn.clear()
            tab.ask_for_what_is_gone()
            tab.drawn.wait(5)
        self._end(tab)

    def _tab(self, page: str) -> Tab:
        self.opened += 1
        return Tab(self.address, page)

    def close(self, place: int) -> None:
        """Close a tab like a browser that crashes."""
        if (tab := self.there[place]) is not None:
            self._end(tab)
            self.there[place] = None

    def _end(self, tab: Tab) -> None:
        tab.end()
        self.errors += [f"the page {tab.page or 'setup'} cannot be drawn: {error}" for error in tab.errors]


class Soak:
    """The workspace, and the observations so far."""

    def __init__(self, workspace: Workspace, tabs: Tabs, server: psutil.Process, chance: random.Random) -> None:
        self.workspace, self.tabs, self.server, self.chance = workspace, tabs, server, chance
        self.samples: list[tuple[float, float]] = []
        self.wrong: list[str] = []
        self.done: dict[str, int] = {}
        self.began = time.monotonic()
        self._sampled = 0.0

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    def live(self) -> None:
        """Let tabs come and go, and sample the server's memory."""
        self.tabs.turn()
        if self.age - self._sampled > EVERY_SECONDS:
            self._sampled = self.age
            has = self.server.memory_info()
            self.samples.append((self.age, (has.rss - has.shared) / 2**20))

    def at_rest(self) -> tuple[int, int]:
        """Return the server's descriptors and threads with no tab open, and the page of one remembered."""
        for place in (0, 1):
            self.tabs.close(place)
        wait_until(lambda: False, FORGOTTEN_SECONDS + 5)
        self.tabs.look("")
        wait_until(lambda: False, 12)
        return self.server.num_fds(), self.server.num_threads()

    def wait(self, run: Run, seconds: float) -> bool:
        """Wait for the end of a run, with a time limit."""
        until = time.monotonic() + seconds
        while run.state().status.live and time.monotonic() < until:
            self.live()
            time.sleep(0.2)
        return not run.state().status.live

    def train(self, config: str) -> None:
        """Train once with whatever befalls the run, to its end."""
        iters = self.chance.randint(20, 80)
        os.environ |= {
            "XTUNER_STUDIO_FAKE_TRAINER": "slow",
            "XTUNER_STUDIO_FAKE_TRAINER_ITERS": str(iters),
            "XTUNER_STUDIO_FAKE_TRAINER_SECONDS": "0.1",
        }
        run = runs.start(self.workspace, config)
        fate = self.chance.choice(("left alone", "stopped", "trainer", "supervisor", "guard", "all"))
        self.done[fate] = self.done.get(fate, 0) + 1
        if fate != "left alone":
            self.wait(run, self.chance.uniform(1, 12))
            self.befall(run, fate)
            if not self.wait(run, 120):
                self.wrong.append(f"{run.id}: {fate}, and it does not end")
                return
            if run.state().status is not Status.FINISHED:
                try:
                    run = runs.resume(self.workspace, run)
                except BadInput:
                    # Nothing was saved yet: another run starts from the beginning.
                    self.done["too early to go on"] = self.done.get("too early to go on", 0) + 1
                    return
        if not self.wait(run, 300):
            self.wrong.append(f"{run.id}: does not come to an end")
        self.look(run, iters)

    def befall(self, run: Run, fate: str) -> None:
        """Stop or kill parts of a run according to `fate`."""
        job = run.job
        if fate == "stopped" or job is None:
            # It may have ended in the meantime.
            with contextlib.suppress(BadInput):
                run.stop(discard=self.chance.random() < 0.3)
            return
        found = job.pids
        victims = {"trainer": ["command"], "supervisor": ["supervisor"]}.get(fate, ["supervisor", "command"])
        if fate in ("guard", "all") and found["supervisor"] is not None:
            guard = 0
            with contextlib.suppress(psutil.NoSuchProcess):
                guard = psutil.Process(found["supervisor"].pid).ppid() if found["supervisor"].alive() else 0
            if guard > 1:
                os.kill(guard, signal.SIGKILL)
            victims = [] if fate == "guard" else victims
        for role in victims:
            identity = found[role]
            if identity is not None:
                identity.signal(signal.SIGKILL)

    def look(self, run: Run, iters: int) -> None:
        """Check that a run has everything that was trained."""
        state = run.state()
        if state.status is not Status.FINISHED:
            self.wrong.append(f"{run.id}: {state.status} {run.job.log_tail(300) if run.job else ''}")
            return
        points = [point["iter"] for point in run.metrics().read()]
        if points != sorted(set(points)) or points[-1:] != [iters]:
            self.wrong.append(f"{run.id}: points {points[:3]} … {points[-3:]} of {iters}")
        if not any(checkpoint.whole for checkpoint in run.checkpoints()):
            self.wrong.append(f"{run.id}: no whole checkpoint")

    def tidy(self) -> None:
        """Keep only a few runs, so that what pages show does not grow."""
        for run in runs.every(self.workspace)[:-KEPT_RUNS]:
            if not run.state().status.live:
                shelf.delete(self.workspace, run)
        shelf.empty(self.workspace)


def floors(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the minimum of each two minutes."""
    found: dict[int, tuple[float, float]] = {}
    for sample in samples:
        place = int(sample[0] // FLOOR_SECONDS)
        found[place] = min(found.get(place, sample), sample, key=lambda each: each[1])
    return list(found.values())


def slope(samples: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Return MB per hour: the median slope between all pairs of samples (Theil 1950), with 95 % interval (Sen 1968)."""
    pairs = sorted(3600 * (b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(samples) for b in samples[n + 1 :])
    if not pairs:
        return 0.0, 0.0, 0.0
    count = len(samples)
    wide = 1.96 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low, high = int((len(pairs) - wide) // 2), int((len(pairs) + wide) // 2 + 1)
    return statistics.median(pairs), pairs[max(0, low)], pairs[min(len(pairs) - 1, high)]


def left_in(root: Path, but: set[int]) -> list[str]:
    """Return the processes that belong to the workspace, by their environment or command line."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ"]):
        said = " ".join(process.info["cmdline"] or []), str(process.info["environ"] or {})
        if process.pid not in but and process.pid != os.getpid() and any(str(root) in words for words in said):
            found.append(f"{process.pid} {said[0][:120]}")
    return found


def opened_by(process: psutil.Process) -> list[str]:
    """Return what the descriptors of a process refer to, to find the one too many."""
    found = []
    for descriptor in sorted(os.listdir(f"/proc/{process.pid}/fd"), key=int):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{process.pid}/fd/{descriptor}"))
    return found


def soaked(minutes: float, seed: int, root: Path, hurry: float = 1.0, trace: str = "") -> dict[str, Any]:
    """Run for this long; return the observations, and under `wrong` everything that failed."""
    workspace, chance = Workspace.open(root), random.Random(seed)
    os.environ["XTUNER_STUDIO_HOME"] = str(root)
    commands.ENTRY = "tests.fakes.trainer"
    write_model(workspace.model("demo"), demo=True)
    dataset = datasets.make_assistant(workspace, "小明")
    config = configs.make(workspace, model="demo", dataset=dataset.name, recipe="fast").name
    environment = {"XTUNER_STUDIO_HOME": str(root), "STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL": str(FORGOTTEN_SECONDS)}
    app = Server(environment | {inside.TRACE: trace}, module="benchmarks.inside" if trace else "streamlit")
    app.start()
    server = psutil.Process(app.process.pid)
    soak = Soak(workspace, Tabs(app.url, chance, hurry), server, chance)
    warm: tuple[int, int] | None = None
    try:
        soak.train(config)
        soak.tabs.once_round()
        while soak.age < 60 * minutes:
            soak.train(config)
            soak.tidy()
            if warm is None and soak.age > min(WARM_SECONDS, 30 * minutes):
                warm = soak.at_rest()
        ended = soak.at_rest()
        if not app.healthy():
            soak.wrong.append("the server does not answer")
        # A thread of a pool may wait for work a little longer.
        if warm and (ended[0] > warm[0] or ended[1] > warm[1] + 2):
            soak.wrong.append(f"descriptors and threads: {warm} when warm, {ended} at the end: {opened_by(server)}")
        children = [child.pid for child in server.children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
        if children:
            soak.wrong.append(f"the server has children: {children}")
        if left := left_in(root, {server.pid}):
            soak.wrong.append(f"processes are left: {left}")
    finally:
        for place in (0, 1):
            soak.tabs.close(place)
        app.kill()
    soak.wrong += soak.tabs.errors
    least = floors(soak.samples)
    grows, *between = slope([sample for sample in least if sample[0] > min(WARM_SECONDS, 30 * minutes)])
    if minutes >= 40 and grows > MOST_MB_AN_HOUR:
        soak.wrong.append(f"the server's memory grows by {grows:.2f} MB an hour")
    return {
        "minutes": minutes,
        "seed": seed,
        "trainings": soak.done,
        "tabs": soak.tabs.opened,
        "server_mb": [round(sample[1], 1) for sample in least],
        "mb_an_hour": round(grows, 2),
        "mb_an_hour_between": [round(end, 2) for end in between],
        "descriptors_and_threads": {"warm": warm, "end": ended},
        "wrong": soak.wrong,
    }


def main() -> int:
    """Run the soak test and report the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hurry", type=float, default=1.0, help="tabs come and go so many times faster")
    parser.add_argument("--trace", default="", help="write what grows inside the server to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        found = soaked(options.minutes, options.seed, Path(scratch) / "workspace", options.hurry, options.trace)
    if options.minutes >= 40 and not options.trace:
        write("soak", found)
    else:
        for name, value in found.items():
            say(f"{name}: {value}")
    return bool(found["wrong"])


if __name__ == "__main__":
    raise SystemExit(main())
