"""Stands for torchrun: runs the trainer as its only process, and meets no other machine."""

import runpy
import sys

if __name__ == "__main__":
    del sys.argv[: sys.argv.index("-m") + 1]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
