"""Memory freed by threads is returned to the system, and threads share few heaps."""

import json
import subprocess
import sys

from core.ground.workspace import PROJECT

# Parallel threads, as for tabs; a small part of what each allocates remains in between.
USES = """
import asyncio, json, threading
from pathlib import Path
from pages.components.server import memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

def heaps():
    # glibc puts each heap of a thread at a multiple of 64 MB.
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    return sum(line[1] == "rw-p" and len(line) == 5 and int(line[0].partition("-")[0], 16) % (1 << 26) == 0 for line in lines)

memory._EVERY_SECONDS = 0.05
memory.few_heaps()
kept, gate = [], threading.Barrier(8)
def use():
    gate.wait()
    taken = [bytearray(3000) for _ in range(4000)]
    gate.wait()
    kept.extend(taken[::400])
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
before = resident()
async def serve():
    giving = asyncio.create_task(memory.give_back())
    await asyncio.sleep(1)
    giving.cancel()
asyncio.run(serve())
print(json.dumps([before, resident(), heaps()]))
"""


def test_what_is_free_is_given_back():
    done = subprocess.run([sys.executable, "-c", USES], cwd=PROJECT, capture_output=True, text=True, check=True)
    before, after, heaps = json.loads(done.stdout)
    assert heaps <= 1, "beside the main one"
    assert before - after > 60, "of some 90 MB"
