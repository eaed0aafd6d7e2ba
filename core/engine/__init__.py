"""XTuner from the outside: presets, prompt templates, configs edited as text, commands, and the Python it runs in."""
