"""Long work that outlives the page: a job is a directory; its supervisor, the queue, its log, samples of the machine.
Knows nothing of XTuner.
"""
