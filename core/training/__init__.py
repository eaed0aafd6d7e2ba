"""Runs: start, stop, resume, status; checkpoints, losses and curves, answers during training, comparison, the trash."""
