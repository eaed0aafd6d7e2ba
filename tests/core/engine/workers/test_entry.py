"""What `entry` changes in mmengine, on mmengine's own classes."""

import time

import pytest

from core.engine.workers import entry


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("workers", "waited"), [(0, []), (1, [2, 2])])
def test_the_wait_between_epochs_is_for_those_who_load_the_data(workers, waited, monkeypatch):
    from mmengine.runner import loops
    from torch.utils.data import DataLoader

    monkeypatch.setattr(loops._InfiniteDataloaderIterator, "__next__", loops._InfiniteDataloaderIterator.__next__)
    monkeypatch.setattr(loops, "time", time)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    entry.waste_no_time_between_epochs()
    batches = loops._InfiniteDataloaderIterator(DataLoader([1, 2], num_workers=workers))
    assert [int(next(batches)) for _ in range(6)] == [1, 2, 1, 2, 1, 2]
    assert slept == waited
