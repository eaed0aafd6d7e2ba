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


# A table of names that will be full soon, and then twice as large, as it is after the imports of a page.
NAMES = """
import json, sys
from benchmarks.inside import malloc
from pages.components.server import memory

def held():
    found = malloc()
    return found["used_mb"] + found["mapped_mb"]

def name(count):
    return [sys.intern(f"name {len(kept)} {number}") for number in range(count)]

memory.few_heaps()
kept = []
while True:
    before = held()
    kept.append(name(100))
    if held() - before > 0.9:
        break
kept.append(name(15_000))
before = held()
memory.room_for_names()
there = held()
for number in range(100_000):
    sys.intern(f"another {number}")
print(json.dumps([there - before, held() - there]))
"""


def test_the_names_of_files_make_no_table_grow_later():
    done = subprocess.run([sys.executable, "-c", NAMES], cwd=PROJECT, capture_output=True, text=True, check=True)
    at_once, later = json.loads(done.stdout)
    assert at_once > 1.5, "there was one to grow"
    assert later < 0.1


# Blocks as pages' charts and tables are, and between them what stays.
LARGE = """
import json
from benchmarks.inside import malloc
from pages.components.server import memory

memory.few_heaps()
kept = []
for size in range(1, 30):
    block = bytearray(size * 100_000)
    kept.append([bytearray(3000) for _ in range(20)])
    del block
blocks = [bytearray(1_000_000 + number) for number in range(20)]
kept.append([bytearray(3000) for _ in range(20)])
del blocks
print(json.dumps(malloc()["free_mb"]))
"""


def test_large_blocks_leave_no_holes_in_the_heap():
    done = subprocess.run([sys.executable, "-c", LARGE], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) < 2
