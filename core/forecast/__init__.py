"""A training before it begins: iterations, time, memory, room on the disk, and every problem at once."""
