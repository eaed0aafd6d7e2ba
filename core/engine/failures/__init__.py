"""Why a training failed, in words: what its log says, what the machine knows, what to do about it."""
