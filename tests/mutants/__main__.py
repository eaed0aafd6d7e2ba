"""`make mutants`, or `python -m tests.mutants [FILE …] [--fresh] [--jobs N] [--seconds S]` in the tool's environment.

Says first how many mutants there are and how long they will take, measured by one run of each file's tests; then runs
them, two at a time, and draws docs/mutants.md. Stopped by Ctrl-C or after S seconds, it continues the next time.
"""

import argparse
import json
import os
import queue
import sys
import threading
import time

from tests.mutants import page
from tests.mutants.chosen import CHOSEN, PROJECT
from tests.mutants.session import Session, changed
from tests.mutants.tree import Tree

PLACE = PROJECT / ".mutants"
# A mutant's tests are given this many times as long as they usually take, and never less than this: others work here too.
PATIENCE, LEAST_SECONDS = 10, 30.0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="one of tests/mutants/chosen.py; all of them if omitted"
    )
    parser.add_argument("--fresh", action="store_true", help="run all mutants again, not only those that are left")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="how many at a time")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this time")
    options = parser.parse_args()
    if unknown := set(options.files) - set(CHOSEN):
        parser.error(f"{', '.join(sorted(unknown))}: not in tests/mutants/chosen.py, which has {', '.join(CHOSEN)}")
    return options


def main() -> int:
    """Measure, announce, run, draw."""
    options = arguments()
    os.nice(15 - os.nice(0))
    os.environ["OMP_NUM_THREADS"] = "1"
    deadline = time.monotonic() + options.seconds
    PLACE.mkdir(exist_ok=True)
    sessions = {file: Session(PLACE, file, options.fresh) for file in options.files or CHOSEN}
    trees = [Tree(PLACE / str(number)) for number in range(options.jobs)]
    try:
        each = {}
        for file, session in sessions.items():
            ahead = len(session.ahead())
            each[file] = trees[0].ready(file) if ahead else 0.0
            say(f"{file}: {len(session)} mutants, {ahead} to run, tests {each[file]:.1f} s")
        whole = sum(len(sessions[file].ahead()) * seconds for file, seconds in each.items()) / options.jobs
        say(f"at most about {whole / 60:.1f} minutes, {options.jobs} at a time, if the machine is no busier than now")
        for file, session in sessions.items():
            if session.ahead() and not run(trees, session, max(LEAST_SECONDS, PATIENCE * each[file]), deadline):
                say("stopped: the same command continues")
                return 1
            keep(session)
    except KeyboardInterrupt:
        say("stopped: the same command continues")
        return 130
    finally:
        for tree in trees:
            tree.close()
    return 0


def run(trees: list[Tree], session: Session, patience: float, deadline: float) -> bool:
    """Try all mutants of one file that are left; whether there was time for all."""
    ahead: queue.SimpleQueue = queue.SimpleQueue()
    for item in session.ahead():
        ahead.put(item)
    lock, began = threading.Lock(), time.monotonic()

    def work(tree: Tree) -> None:
        tree.ready(session.file)
        while time.monotonic() < deadline:
            try:
                item = ahead.get_nowait()
            except queue.Empty:
                # Tests that fail now and then would have killed what they do not notice.
                if tree.run(session.file, session.code, patience)[0] != 0:
                    say(f"{session.file}: its tests failed at the end without a mutant: run it again with --fresh")
                return
            code = session.mutated(item)
            try:
                status, seconds = tree.run(session.file, code, patience)
            except (OSError, ValueError):
                # Closed by Ctrl-C.
                return
            with lock:
                session.tell(item, status, seconds)
                if status == 0:
                    say(f"  survived: {json.dumps(changed(session.code, code), ensure_ascii=False)}")

    threads = [threading.Thread(target=work, args=(tree,), daemon=True) for tree in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = len(session.ahead())
    say(f"{session.file}: {time.monotonic() - began:.0f} s, {left} left")
    return not left


def keep(session: Session) -> None:
    """Into the results, and onto the page."""
    found = page.results()
    found[session.file] = session.summary()
    kept = {file: found[file] for file in CHOSEN if file in found}
    page.RESULTS.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    page.draw()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
