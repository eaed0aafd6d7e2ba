"""Why a job failed, in words that a learner understands, found from its log and how it ended."""

import re
import signal
from pathlib import Path

from core.ground.text import Text
from core.jobs.job import Job, Status

_PATTERNS: tuple[tuple[str, Text], ...] = (
    (
        r"CUDA out of memory|OutOfMemoryError",
        Text(
            "显存不足：减小 batch_size 或 max_length，或改用 QLoRA",
            "out of GPU memory: lower batch_size or max_length, or use QLoRA",
        ),
    ),
    (
        r"No space left on device",
        Text("磁盘已满：清理后从最后一个检查点继续", "the disk is full: make room and resume from the last checkpoint"),
    ),
    (
        r"end should be larger than begin",
        Text(
            "预热的迭代数为零：增大 max_epochs 或 warmup_ratio",
            "the warm-up has zero iterations: raise max_epochs or warmup_ratio",
        ),
    ),
    (
        # Not bitsandbytes' notice, which every log on a machine without a GPU holds.
        r"(?<!version of bitsandbytes was )compiled without GPU support|CUDA is required.*bitsandbytes|No GPU found.*quantiz|requires? a? ?GPU.*quantiz",
        Text(
            "4 比特量化需要 CUDA 显卡：在这台机器上请用不量化的 LoRA",
            "4-bit weights need a CUDA GPU: use plain LoRA here",
        ),
    ),
    (
        r"No module named '([\w.]+)'",
        Text(
            "缺少 Python 包 {0}：请运行 make run 安装依赖",
            "the Python package {0} is missing: run make run, which installs it",
        ),
    ),
    (
        r"FileNotFoundError: (.+)",
        Text("找不到文件：{0}。请检查模型和数据的路径", "a file is missing: {0}; check the paths of model and data"),
    ),
    (
        r"(?:JSONDecodeError|DatasetGenerationError|ArrowInvalid)[:\s](.*)",
        Text(
            "数据文件读不出来：{0}。请用 datasets check 检查", "the data file cannot be read: {0}; try datasets check"
        ),
    ),
    (
        r"EADDRINUSE|address already in use",
        Text("多进程通信端口被占用：换一个 --port", "the port for several processes is taken: choose another --port"),
    ),
)


def reason(job: Job) -> Text | None:
    """Why `job` did not finish; None while it runs and when it did."""
    status = job.status()
    if status.live or status is Status.FINISHED:
        return None
    if status is Status.KILLED and (job.exit or {}).get("returncode", 0) is None:
        return Text("开始之前就从排队中取消了", "taken out of the queue before it began")
    if status is Status.KILLED:
        return Text("按要求停止", "stopped as asked")
    ended = job.exit
    if ended is None:
        return Text(
            "监督进程被强行结束（机器重启，或内存不足）：可以从最后一个检查点继续",
            "its supervisor was killed (a reboot, or memory ran out): resume from the last checkpoint",
        )
    log = job.log_tail()
    for pattern, text in _PATTERNS:
        matches = list(re.finditer(pattern, log))
        if matches:
            groups = [part.strip()[:200] for part in matches[-1].groups() if part]
            return Text(text.zh.format(*groups, *[""] * 2), text.en.format(*groups, *[""] * 2))
    if ended["returncode"] == -signal.SIGKILL:
        return Text(
            "进程被强行结束，多半是内存不足：减小 batch_size，或关闭其他程序",
            "the process was killed, most likely because memory ran out: lower batch_size or close other programs",
        )
    last = next(
        (
            line
            for line in reversed(log.splitlines())
            if re.match(r"(\[rank\d+\]: )?(?!.*ChildFailedError)[\w.]*(Error|Exception)\b", line)
        ),
        None,
    )
    if last:
        return Text(f"出错：{last[:300]}", last[:300])
    if ended["returncode"] == 0:
        missing = [path for path in job.spec["artefacts"] if not Path(path).exists()]
        return Text(f"没有留下应有的文件：{missing}", f"it did not leave what it should: {missing}")
    # What one of our own commands prints last is its message.
    said = next((line.strip()[:300] for line in reversed(log.splitlines()) if line.strip()), "-")
    return Text(f"以退出码 {ended['returncode']} 结束：{said}", f"it ended with code {ended['returncode']}: {said}")
