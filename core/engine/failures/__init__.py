"""Why a run failed and what to do about it, from its log and from the machine."""
