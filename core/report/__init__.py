"""The writeup of a run: its sections, pictures, PDF and ZIP, and what is masked in them."""
