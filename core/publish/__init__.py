"""Publishing: the package of a model with its card and a small app, and the upload to a hub."""
