"""From a checkpoint to a model that stands alone: convert, merge, verify."""
