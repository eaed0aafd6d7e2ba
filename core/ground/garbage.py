"""Keeps Python's garbage collector off while one of our processes starts, and off what it started with.

Imports create a million objects and no garbage, yet the collector walks through all of them again and again; at exit
Python frees them one by one. Together this was a third of the CPU time of a short training. Workers import this: standard
library only.
"""

import atexit
import gc


def wait() -> None:
    """Collect nothing until `resume`; at exit, leave everything to the operating system."""
    gc.disable()
    atexit.register(gc.freeze)


def resume() -> None:
    """The imports are done: collect again, but never what exists by now."""
    gc.freeze()
    gc.enable()
