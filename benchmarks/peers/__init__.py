"""The same training with its peers, LLaMA-Factory and ms-swift, each in an environment of its own on this machine."""
