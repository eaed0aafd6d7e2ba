"""The comparison with peers: the CPU time of a process tree, in total and per step, and the table."""

import subprocess
import sys

import psutil

from benchmarks import peers

BUSY = """
import pathlib, subprocess, sys, time
def work(seconds):
    while time.process_time() < seconds: pass
child = subprocess.Popen([sys.executable, "-c", "import time\\nwhile time.process_time() < 1.5: pass\\ntime.sleep(60)"])
for step in (1, 2, 3):
    work(0.6 * step)
    pathlib.Path(sys.argv[1]).write_text('{"current_steps": %d}\\n' % step)
time.sleep(2)
child.kill()
"""


def test_the_cpu_time_of_a_tree_and_of_a_step(tmp_path):
    log = tmp_path / "log.jsonl"
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(log)])
    seen = peers._watched(psutil.Process(process.pid), lambda: peers._steps(tmp_path, "log.jsonl"))
    assert process.wait() == 0
    assert seen["steps"] == 3
    # Its own and its child's.
    assert 2.5 < seen["cpu_seconds"] < 6
    assert seen["cpu_seconds_a_step"] > 0.3


def test_the_table_has_who_failed_and_who_was_not_scored():
    ours = {
        "cpu_seconds": 90.5, "seconds": 400.0, "cpu_seconds_a_step": 3.25, "differs": "none",
        "scores": {"identity": {"tuned": 0.9}, "facts": {"kept": None, "net": None}, "manner": {"agreement": 0.85}},
    }  # fmt: skip
    kept = {
        "small": {
            "machine": {"name": "cpu-2cores"}, "side_by_side": True, "rows": 80, "settings": {"r": 16},
            "trained": {"swift": {"failed": "swift: no such option"}, "ours": ours},
        }
    }  # fmt: skip
    written = list(peers.lines(kept))
    assert written[0] == "**small**, 80 rows, r 16; cpu-2cores, side by side:\n"
    assert written[3] == "| XTuner Studio (none) | 3.25 | 90.5 | 400 | 0.9 |  |  | 0.85 |  |"
    assert written[4].startswith("| ms-swift 3.12.6 | failed: swift: no such option |")


def test_the_end_of_a_training_is_no_step(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"current_steps": 1}\n{"current_steps": 2}\n{"current_steps": 2, "percentage": 100}\n'
    )
    (tmp_path / "b.jsonl").write_text('{"loss": 1, "global_step/max_steps": "7/30"}\n')
    assert (peers._steps(tmp_path, "a.jsonl"), peers._steps(tmp_path, "b.jsonl")) == (2, 7)
