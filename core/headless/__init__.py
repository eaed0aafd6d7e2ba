"""The headless commands: one file a stage, each with its functions and its part of the command table.

A command goes through the front doors that the pages use and returns the keys that scripts rely on. The command
line itself, its exit codes and its JSON are in `__main__`.
"""
