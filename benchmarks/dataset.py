"""Imports, checks and counts a dataset of a million rows (about 500 MB of JSON Lines), compared with a plain load of
the same file by Hugging Face `datasets`; and the course's 7,502 rows. Each runs in its own process, with its peak
memory.

`ROWS=n python -m benchmarks.dataset` changes the number of rows, `ROUNDS=n` that of repetitions (3). The tokenizer of
each model in a workspace (`BENCHMARK_WORKSPACE=DIR`) also counts the rows for the statistics.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import WORKSPACE, interleaved, say, spread, write
from core.ground.workspace import PROJECT

ROWS = int(os.environ.get("ROWS", "1000000"))
MODELS = sorted(one for one in (WORKSPACE / "models").iterdir() if (one / "config.json").is_file()) if WORKSPACE else []
ROUNDS = int(os.environ.get("ROUNDS", "3"))
WORDS = "数据 模型 训练 学习 语言 问题 回答 今天 天气 北京 上海 因为 所以 然后 我们 可以 方法 结果 the model data answer".split()
IMPORT = """
import sys; from pathlib import Path
from core.data import dataset as datasets; from core.ground.workspace import Workspace
made, report = datasets.import_file(Workspace.open(sys.argv[2]), Path(sys.argv[1]))
assert made.rows == int(sys.argv[3]), made.rows
import time; began = time.perf_counter(); made.page(made.rows - 12, 12)
print("page_ms", 1000 * (time.perf_counter() - began))
"""
LOAD = """
import sys; from datasets import load_dataset
assert len(load_dataset("json", data_files=sys.argv[1], split="train", cache_dir=sys.argv[2])) == int(sys.argv[3])
"""
COURSE = """
import sys; from core.data import dataset as datasets; from core.ground.workspace import Workspace
import time; began = time.perf_counter()
made = datasets.make_assistant(Workspace.open(sys.argv[1]), "小明", "course")
datasets.check(made)
print("course_seconds", time.perf_counter() - began)
"""


# As on the page: a sample of the rows if there are very many.
STATISTICS = """
import sys; from core.__main__ import main
main(["models", "trust", sys.argv[3], "--workspace", sys.argv[1]])
sys.exit(main(["datasets", "stats", sys.argv[2], "--model", sys.argv[3], "--workspace", sys.argv[1], "--json"]))
"""


def generate(path: Path, rows: int) -> None:
    """Write conversations of random words, a tenth of them with a system prompt: about 550 bytes each."""
    rng = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            messages = [
                {"role": "user", "content": f"问题{number}：" + "".join(rng.choices(WORDS, k=20))},
                {"role": "assistant", "content": "".join(rng.choices(WORDS, k=55))},
            ]
            if number % 10 == 0:
                messages.insert(0, {"role": "system", "content": "你是助手"})
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def run(code: str, *arguments: object) -> tuple[float, float, float, str]:
    """Run `code` in its own process.

    Returns seconds, CPU seconds including child processes, peak memory in MB of the largest process, and the output.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=PROJECT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, said
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, said


def main() -> None:
    """Import and load, interleaved."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "rows.jsonl"
        say(f"writing {ROWS:,} rows")
        generate(file, ROWS)
        memory: dict[str, float] = {}
        page: list[str] = []
        imports: list[float] = []
        statistics: dict[str, list[float]] = {}
        cpu: dict[str, list[float]] = {"import": [], "datasets": []}

        def ours() -> None:
            with tempfile.TemporaryDirectory(dir=directory) as place:
                took, worked, most, said = run(IMPORT, file, place, ROWS)
                say(f"import: {took:.1f} s, {worked:.1f} s of CPU, {most:.0f} MB")
                imports.append(took)
                cpu["import"].append(worked)
                memory["import"] = max(memory.get("import", 0.0), most)
                page.append(said)
                name = next((Path(place) / "datasets").iterdir()).name
                models = Path(place) / "models"
                models.mkdir(exist_ok=True)
                for model in MODELS:
                    (models / model.name).symlink_to(model.absolute())
                    took, worked, most, _ = run(STATISTICS, place, name, model.name)
                    say(f"statistics, {model.name}: {took:.1f} s, {worked:.1f} s of CPU, {most:.0f} MB")
                    statistics.setdefault(model.name, []).append(took)
                    cpu.setdefault(f"statistics_{model.name}", []).append(worked)
                    memory["statistics"] = max(memory.get("statistics", 0.0), most)

        def theirs() -> None:
            with tempfile.TemporaryDirectory(dir=directory) as place:
                _, worked, most, _ = run(LOAD, file, place, ROWS)
                say(f"datasets: {worked:.1f} s of CPU, {most:.0f} MB")
                cpu["datasets"].append(worked)
                memory["datasets"] = max(memory.get("datasets", 0.0), most)

        figures = interleaved(theirs, ours, rounds=ROUNDS)
        with tempfile.TemporaryDirectory(dir=directory) as place:
            course = float(run(COURSE, place)[-1].split()[1])
        write(
            "dataset",
            {
                "rows": ROWS,
                "megabytes": round(file.stat().st_size / 1e6),
                "import_and_check_seconds": imports,
                **{f"statistics_seconds_{model}": seconds for model, seconds in statistics.items()},
                "datasets_load_seconds": figures["seconds"]["one"],
                "import_over_datasets": spread(
                    [a / b for a, b in zip(imports, figures["seconds"]["one"], strict=True)]
                ),
                "import_over_datasets_cpu": spread(
                    [a / b for a, b in zip(cpu["import"], cpu["datasets"], strict=True)]
                ),
                **{f"{what}_cpu_seconds": seconds for what, seconds in cpu.items()},
                "most_memory_mb": memory,
                "last_page_ms": float(page[-1].split()[1]),
                "course_seconds": course,
            },
        )


if __name__ == "__main__":
    main()
