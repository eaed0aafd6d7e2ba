"""Long work that outlives the page: job directories, their supervisor, the queue, logs, samples of the machine.

Knows nothing of XTuner.
"""
