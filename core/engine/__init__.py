"""XTuner from the outside: its presets and prompt templates, its configs edited as text, its commands, the Python it
runs in.
"""
