"""From a checkpoint to a standalone model: convert, merge, verify."""
