"""Base and fine-tuned model side by side; conversations; scores and their diagnosis."""
