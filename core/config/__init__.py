"""The configs of a workspace: made from a preset by a recipe, edited, undone, shared; the memory that a training
takes.
"""
