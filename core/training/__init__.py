"""Runs: start, stop, resume, where they stand; checkpoints, losses and curves, answers on the way, comparison, the
trash.
"""
