"""The headless commands: one file per stage, with its functions and its part of the command table.

A command calls the same functions as the pages and returns the keys that scripts rely on. The command line itself, its
exit codes and its JSON are in `__main__`.
"""
