"""XTuner, seen from outside: its presets and prompt templates, its configs edited as text, its commands, the Python
that it runs in.
"""
