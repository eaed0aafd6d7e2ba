"""The settings of a config: one field each, with label, help, bounds and XTuner's name."""
