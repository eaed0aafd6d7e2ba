"""The configs of a workspace: created from a preset by a recipe, edited, undone, shared; how much memory training
needs.
"""
