"""Built-in texts: what the assistant says about itself, general knowledge, and the questions held out for scoring."""
