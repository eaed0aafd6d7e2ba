"""Our own texts: what the assistant says of itself, general knowledge, and the questions that are held out for the
scores.
"""
