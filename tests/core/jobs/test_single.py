"""Of a kind that only needs one job, only one is started, however many ask at once."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.engine.failures.finish import finish_job, unfinished
from core.ground.errors import BadInput, WorkFailed
from core.ground.text import Text
from core.jobs.job import Job, jobs_in
from core.jobs.single import live, only_one, starting
from tests.conftest import ended

BUSY = Text("正在进行", "busy")
SLEEP = ["sleep", "600"]


def start(workspace, argv=SLEEP, **options):
    with only_one(workspace.jobs, "work", BUSY) as begin:
        return begin(argv, **options)


def test_a_second_is_refused_until_the_first_is_over(workspace):
    first = start(workspace, facts={"n": 1})
    with pytest.raises(BadInput, match="正在进行"):
        start(workspace)
    assert live(workspace.jobs, "work") == first
    assert live(workspace.jobs, "other") is None
    first.stop(discard=True)
    assert live(workspace.jobs, "work") is None
    assert start(workspace).name == "work-2"


def test_live_by_its_facts_whichever_was_started_last(workspace):
    first, second = (Job.start(workspace.jobs, "work", SLEEP, facts={"n": n}) for n in (1, 2))
    assert [live(workspace.jobs, "work", {"n": n}) for n in (1, 2, 3)] == [first, second, None]
    second.stop(discard=True)
    assert live(workspace.jobs, "work") == first


def test_of_many_at_once_one_starts(workspace):
    def click(_: int) -> bool:
        try:
            start(workspace)
        except BadInput:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(click, range(4))) == 1
    assert len(jobs_in(workspace.jobs, "work")) == 1


def test_what_is_raised_while_starting_leaves_no_lock(workspace):
    with pytest.raises(ZeroDivisionError), starting(workspace.jobs, "work"):
        raise ZeroDivisionError
    start(workspace)


def test_a_job_that_must_finish(workspace):
    what, step = Text("没有做完", "not done"), Text("再来一次", "Do it again")
    finish_job(start(workspace, [sys.executable, "-c", ""]), what)
    job = start(workspace, [sys.executable, "-c", "raise MemoryError"])
    with pytest.raises(WorkFailed) as refused:
        finish_job(job, what, next_step=step)
    assert refused.value.text.en.startswith("not done: out of memory")
    assert refused.value.text.en.endswith(f". Do it again. Log: {job.log}")
    assert refused.value.text.zh.endswith(f"。再来一次。日志：{job.log}")
    with pytest.raises(WorkFailed, match="没有做完：谁知道。日志"):
        finish_job(job, what, why=lambda _: Text("谁知道", "who knows"))
    ended(job)
    assert "FAILED" in unfinished(job, what, None).text.en
