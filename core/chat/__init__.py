"""Asking base and tuned model side by side; conversations; the scores, and what they mean."""
