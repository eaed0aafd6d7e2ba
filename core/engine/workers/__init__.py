"""Code that runs in the engine's interpreter, the only code that loads torch and XTuner.

Started as commands, never imported by the app.
"""
