"""What a person may change in a config: one field for each setting, with label, help, bounds and XTuner's name for
it.
"""
