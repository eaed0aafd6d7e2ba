"""The report of a run: sections, images, PDF and ZIP, and what is masked in them."""
