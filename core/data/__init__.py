"""Datasets: created from a nickname, a file or documents; rows, checks, statistics, tokens; edits and versions."""
