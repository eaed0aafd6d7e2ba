"""The configs of a workspace: created from presets by recipes, edited, undone, shared, and their memory in training."""
