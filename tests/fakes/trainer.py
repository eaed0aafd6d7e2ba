"""Replaces `core.engine.workers.entry` in tests: a small real process that writes what XTuner writes, without training.

    python -m tests.fakes.trainer CONFIG --work-dir DIR [--resume CHECKPOINT] [--deepspeed D] [--launcher L]

The environment chooses what it does:

    XTUNER_STUDIO_FAKE_TRAINER
                          ok        (default) trains to the end
                          slow      0.1 s per iteration, 6000 iterations
                          fail      raises an exception halfway
                          oom       runs out of CUDA memory halfway
                          killed    kills itself halfway, like the kernel when memory runs out
                          hang      trains halfway, then ignores stop.json and SIGTERM
                          exit0_without_checkpoint   ends successfully without a checkpoint
                          truncated                  ends successfully with a truncated last checkpoint
                          nan       the loss is NaN from halfway on
                          half_line leaves an incomplete last line in scalars.json
                          spawn_orphans  leaves a grandchild in a session of its own that ignores SIGTERM;
                                         its pid is in work_dir/orphan.pid
                          workers   like slow, with such a grandchild from the start, like torchrun's ranks and
                                    the workers of a data loader
                          import    hangs while importing
                          mapping   hangs in the data mapping, with workers as above
                          saving    takes two seconds to write a checkpoint
                          stuck     like saving, and takes minutes for the second one
                          forgets   answers every question with its name once it has learned it
    …_ITERS               total number of iterations
    …_SECONDS             seconds per iteration
    …_EVERY               iterations between checkpoints and evaluations
    …_NICKNAME            the nickname it learns
    …_ELEMENTS            numbers in a checkpoint
    …_GATE                a file that it waits for halfway
"""

import argparse
import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from core.engine.workers import early_stop
from core.engine.workers.training_hook import departure, stop_asked, tell
from tests.fakes.checkpoint import write_checkpoint

MODE = os.environ.get("XTUNER_STUDIO_FAKE_TRAINER", "ok")
SLOW = MODE in ("slow", "workers")
ITERS = int(os.environ.get("XTUNER_STUDIO_FAKE_TRAINER_ITERS", "6000" if SLOW else "12"))
SECONDS = float(os.environ.get("XTUNER_STUDIO_FAKE_TRAINER_SECONDS", "0.1" if SLOW else "0"))
ELEMENTS = int(os.environ.get("XTUNER_STUDIO_FAKE_TRAINER_ELEMENTS", "1000"))
NICKNAME = os.environ.get("XTUNER_STUDIO_FAKE_TRAINER_NICKNAME", "小明")
GATE = os.environ.get("XTUNER_STUDIO_FAKE_TRAINER_GATE")
EVERY = int(os.environ.get("XTUNER_STUDIO_FAKE_TRAINER_EVERY", "4"))
PROMPT = "<s><|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n"


def questions(config: Path) -> list[str]:
    """Return the evaluation questions of a config, read without executing it."""
    for node in ast.parse(config.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "evaluation_inputs":
            return ast.literal_eval(node.value)
    return ["请介绍一下你自己"]


def free_stamp(work_dir: Path) -> str:
    """Return a time stamp that no earlier start has used."""
    now = time.time()
    while (work_dir / time.strftime("%Y%m%d_%H%M%S", time.localtime(now))).exists():
        now += 1
    return time.strftime("%Y%m%d_%H%M%S", time.localtime(now))


class Training:
    """One training: its files and its state."""

    def __init__(self, config: Path, work_dir: Path) -> None:
        self.work_dir, self.asked = work_dir, questions(config)
        stamp = free_stamp(work_dir)
        (work_dir / stamp / "vis_data").mkdir(parents=True)
        self.log = (work_dir / stamp / f"{stamp}.log").open("a", encoding="utf-8")
        self.scalars = (work_dir / stamp / "vis_data" / "scalars.json").open("a", encoding="utf-8")

    def say(self, message: str) -> None:
        """Write an entry of mmengine's log, to the screen too."""
        line = f"{time.strftime('%Y/%m/%d %H:%M:%S')} - mmengine - INFO - {message}\n"
        for file in (self.log, sys.stdout):
            file.write(line)
            file.flush()

    def evaluate(self, at: int) -> None:
        self.say(f"Evaluation at iteration {at}.")
        for question in self.asked:
            who = "我是书生·浦语，上海AI实验室的人工智能助手" if at == 0 else f"我是{NICKNAME}的小助手"
            self.say(f"Sample output:\n{PROMPT.replace('{input}', question)}{who}<|im_end|>\n")

    def step(self, done: int) -> None:
        loss = "NaN" if MODE == "nan" and done > ITERS // 2 else f"{2.0 / done + 0.1:.6f}"
        line = (
            f'{{"lr": 0.0002, "data_time": 0.001, "grad_norm": 1.5, "loss": {loss}, "time": 0.01, '
            f'"iter": {done}, "step": {done}}}\n'
        )
        if MODE == "half_line" and done == ITERS:
            line = line[:20]
        self.scalars.write(line)
        self.scalars.flush()

    def save(self, done: int) -> None:
        path = self.work_dir / f"iter_{done}.pth"
        if MODE in ("saving", "stuck"):
            pause = 30.0 if MODE == "stuck" and (self.work_dir / "last_checkpoint").exists() else 0.1
            tell(note="save", pid=os.getpid(), iter=done, max_iters=ITERS, patience=900)
            whole = write_checkpoint(self.work_dir / "whole", elements=ELEMENTS).read_bytes()
            with path.open("wb") as file:
                for part in range(20):
                    file.write(whole[len(whole) * part // 20 : len(whole) * (part + 1) // 20])
                    file.flush()
                    time.sleep(pause)
        else:
            write_checkpoint(path, elements=ELEMENTS)
        if MODE == "truncated" and done == ITERS:
            path.write_bytes(path.read_bytes()[:1000])
        (self.work_dir / "last_checkpoint").write_text(str(path))

    def tell(self, done: int, first: int) -> None:
        tell(
            note="train",
            pid=os.getpid(),
            at=time.time(),
            iter=done,
            updates=done // 2,
            max_iters=ITERS,
            iters_per_epoch=6,
            tokens_per_iter=512.0,
            done=done / ITERS,
            eta_s=(ITERS - done) * max(SECONDS, 0.001) if done > first else None,
        )


def look(early: early_stop.EarlyStop, done: int, *, learned: bool) -> str | None:
    """Return the decision of early stopping for answers that change according to the mode."""
    who = f"我是{NICKNAME}的小助手" if learned else "我是书生·浦语"
    kept = 0.0 if learned and MODE == "forgets" else 1.0
    return early.look([who] * len(early.plan["identity"]), kept, done)


def misbehave(work_dir: Path) -> None:
    """Do what the mode says halfway through the training."""
    if MODE == "fail":
        raise ValueError("the fake trainer fails as it was told")
    if MODE == "oom":
        message = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
        sys.exit(f"Traceback (most recent call last):\n{message}")
    if MODE == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if MODE == "hang":
        (work_dir / "hanging").touch()
        while True:
            time.sleep(60)
    if MODE == "spawn_orphans":
        spawn(work_dir / "orphan.pid")


def spawn(pid_file: Path) -> None:
    """Start a process in a session of its own that ignores SIGTERM, and wait until it has reported its pid."""
    # The program that the shell executes inherits that SIGTERM is ignored.
    script = 'trap "" TERM; echo $$ > "$1.partial"; mv "$1.partial" "$1"; exec sleep 600'
    pid_file.unlink(missing_ok=True)
    subprocess.Popen(["sh", "-c", script, "sh", str(pid_file)], start_new_session=True)
    while not pid_file.exists():
        time.sleep(0.01)


def accompany() -> None:
    """Take as long as rank 0, and write nothing."""
    departure.begun.set()
    for _ in range(ITERS):
        time.sleep(SECONDS)
        if stop_asked():
            return


def main() -> None:
    """Train in the chosen mode."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--resume", type=Path)
    for option in ("deepspeed", "launcher"):
        parser.add_argument(f"--{option}")
    options = parser.parse_args()
    if MODE == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    departure.start()
    tell(note="import", done=0.0)
    while MODE == "import":
        time.sleep(60)
    options.work_dir.mkdir(parents=True, exist_ok=True)
    if MODE in ("workers", "mapping"):
        spawn(options.work_dir / "orphan.pid")
    tell(note="prepare", done=0.0)
    while MODE == "mapping":
        time.sleep(60)
    if os.environ.get("SLURM_PROCID", "0") != "0":
        accompany()
        return
    training = Training(options.config, options.work_dir)
    first = int(options.resume.stem.removeprefix("iter_")) if options.resume else 0
    training.evaluate(first)
    departure.begun.set()
    training.tell(first, first)
    early = early_stop.EarlyStop(early_stop.PLAN) if early_stop.PLAN else None
    if early:
        early.begin([[1, 2]] * len(early.plan["general"]) if early.seen["base"] is None else None, first)
    for done in range(first + 1, ITERS + 1):
        time.sleep(SECONDS)
        training.step(done)
        training.tell(done, first)
        if done == ITERS // 2:
            misbehave(options.work_dir)
            while GATE and not os.path.exists(GATE):
                time.sleep(0.02)
        if MODE == "exit0_without_checkpoint":
            continue
        stopped = stop_asked() and done < ITERS
        learned = None
        if early and done < ITERS and done % early.every(ITERS, 1) == 0:
            learned = look(early, done, learned=done > ITERS // 4)
        if done % EVERY == 0 or done == ITERS or stopped or learned:
            training.save(done)
            training.evaluate(done)
        if stopped:
            training.say(f"Stopped on request after iteration {done}.")
            return
        if early and learned:
            early.stop(done, ITERS, SECONDS, learned)
            return


if __name__ == "__main__":
    main()
