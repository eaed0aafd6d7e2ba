"""The progress of an export over all its steps. Part of the export worker."""

import time

from core.ground.progress import write_progress

# Relative durations, for the progress bar.
_PARTS = {"convert": 1, "merge": 5, "verify": 4}


class Progress:
    """The progress file: `done` from 0 to 1 over all steps, `note`, `eta_s`, and `bytes` written so far."""

    def __init__(self, steps: "list[str]") -> None:
        self.steps, self.started, self.told = steps, time.monotonic(), 0.0
        self.step, self.bytes = "", 0

    def begin(self, step: str) -> None:
        """Report the start of a step."""
        self.step = step
        self.tell(0.0, force=True)
        print(step, flush=True)

    def tell(self, part: float, *, force: bool = False) -> None:
        """Report the fraction of the step that is done, 0 to 1; written at most ten times a second."""
        if not force and time.monotonic() - self.told < 0.1:
            return
        self.told = time.monotonic()
        all_parts = sum(_PARTS[step] for step in self.steps)
        before = sum(_PARTS[step] for step in self.steps[: self.steps.index(self.step)])
        done = (before + part * _PARTS[self.step]) / all_parts
        spent = self.told - self.started
        eta = spent / done * (1 - done) if done > 0.05 else None
        write_progress(done=done, note=self.step, eta_s=eta, bytes=self.bytes)
