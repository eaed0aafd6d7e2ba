"""Datasets: made of a nickname, a file or documents; rows, checks, statistics, tokens; edits and versions."""
