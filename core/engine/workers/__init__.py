"""What runs in the engine's own interpreter, the only code that loads torch and XTuner. Started as commands, never
imported.
"""
