"""The preflight: iterations, time, memory, disk space, and all problems at once."""
