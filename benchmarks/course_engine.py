"""Builds the course's own engine as the course does and runs the entire workflow in it: what works and what does not.

    make course-engine XTUNER=PATH      the source of XTuner v0.1.21; writes the table in docs/setup.md

Creates `.venv-course` once: Python 3.10 with torch 2.1.2 and transformers 4.39.3. Uses two models: SmolLM2's real
weights, from the package index, and a small InternLM2 with the modeling code that XTuner 0.1.21 ships. Needs Python
3.10 (`PYTHON310`).

With `--workspace`, each successful step is kept, and the command resumes where it stopped.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import say

PROJECT = Path(__file__).parents[1]
ENVIRONMENT = PROJECT / ".venv-course"
PAGE = PROJECT / "docs" / "setup.md"
BEGIN, END = "<!-- course engine: begin -->", "<!-- course engine: end -->"
# The course's own packages, then the pins needed today: without them its latest peft requires a newer transformers, and
# setuptools has no pkg_resources.
COURSE = ["torch==2.1.2", "torchvision==0.16.2", "transformers==4.39.3", "deepspeed==0.14.4"]
REPAIRS = ["peft==0.11.1", "accelerate==0.30.1", "datasets<3", "setuptools<80", "numpy<2"]
# Where XTuner 0.1.21 has its InternLM2 code.
CODE = Path("xtuner") / "tools" / "model_converters" / "modeling_internlm2_reward"
FAILED = "**failed**"
QUESTION = {"smol": "Who are you?", "internlm2": "请介绍一下你自己"}


class Way:
    """The workflow for one model, step by step: the result of each step, and the run that later steps use."""

    def __init__(self, workspace: Path, python: Path, name: str) -> None:
        self._workspace, self._python, self._name = workspace, python, name
        self._kept = workspace / f"course-engine-{name}.json"
        self.steps: dict[str, str] = {}
        self.run, self.foreseen = "", 0
        if self._kept.exists():
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
            self.steps, self.run, self.foreseen = kept["steps"], kept["run"], kept["foreseen"]

    def core(self, *words: str) -> dict[str, Any]:
        """Run a headless command and return its answer. Raises RuntimeError with its last line."""
        done = subprocess.run(
            [sys.executable, "-m", "core", *words, "--workspace", str(self._workspace), "--json"],
            cwd=PROJECT,
            env={**os.environ, "XTUNER_STUDIO_ENGINE": str(self._python), "XTUNER_STUDIO_LANG": "en"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError((done.stderr.strip().splitlines() or ["?"])[-1][:400])
        return json.loads(done.stdout)

    def step(self, name: str, work: Callable[[], str]) -> bool:
        """Run a step unless it is done, and record its result; return whether it succeeded."""
        say(f"{self._name}: {name}")
        worked = name in self.steps and not self.steps[name].startswith(FAILED)
        if not worked:
            try:
                self.steps[name], worked = work(), True
            except (RuntimeError, KeyError, TypeError) as error:
                self.steps[name] = f"{FAILED}: {error}"
            kept = {"steps": self.steps, "run": self.run, "foreseen": self.foreseen}
            self._kept.write_text(json.dumps(kept, ensure_ascii=False, indent=2), encoding="utf-8")
        say(f"  {self.steps[name]}")
        return worked


def environment(xtuner: Path, python: str) -> Path:
    """Return the interpreter of the course's environment, created if necessary."""
    place = ENVIRONMENT / "bin" / "python"
    if not place.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--python", python, str(ENVIRONMENT)], check=True)
        source = ENVIRONMENT / "xtuner-0.1.21"
        shutil.copytree(xtuner, source, ignore=shutil.ignore_patterns(".git"))
        install = [*uv, "pip", "install", "--quiet", "--python", str(place)]
        subprocess.run([*install, *COURSE, *REPAIRS, "psutil", "-e", f"{source}[deepspeed]"], check=True)
    return place


def made(workspace: Path, model: str) -> dict[str, Any]:
    """Create one of the app's own models, whichever engine is selected."""
    words = [sys.executable, "-m", "core", "models", model, "--workspace", str(workspace), "--json"]
    own = {**os.environ, "XTUNER_STUDIO_LANG": "en"}
    return json.loads(subprocess.run(words, cwd=PROJECT, env=own, stdout=subprocess.PIPE, text=True, check=True).stdout)


def internlm2(workspace: Path, xtuner: Path) -> Path:
    """Copy the demo model with InternLM2's code from XTuner 0.1.21 instead of 0.2.0."""
    place = workspace / "given" / "internlm2-chat-1_8b-toy"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(made(workspace, "demo")["path"], place)
    (place / "demo_model.json").unlink()
    for file in ("configuration_internlm2.py", "modeling_internlm2.py"):
        shutil.copyfile(xtuner / CODE / file, place / file)
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    config["auto_map"]["AutoModelForCausalLM"] = "modeling_internlm2.InternLM2ForCausalLM"
    (place / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return place


def go(way: Way, model: str, language: str, link: Callable[[], str], *, quick: bool) -> None:
    """Run the entire workflow with one model: a checkpoint, a stop and resume, a merged model, answers and scores."""
    question = QUESTION["smol" if language == "en" else "internlm2"]

    def dataset() -> str:
        made = way.core(
            "datasets", "assistant", "--name", "NICK", "--language", language, "--model", model, "--out", f"d-{model}"
        )
        return f"{made['rows']} rows"

    def config() -> str:
        made = way.core(
            "configs", "new", "--model", model, "--dataset", f"d-{model}", "--recipe", "fast", "--out", f"c-{model}"
        )
        errors = [problem["message"] for problem in made["problems"] if problem["severity"] == "error"]
        if errors:
            raise RuntimeError(errors[0])
        return "no problems" if not made["problems"] else "; ".join(problem["message"] for problem in made["problems"])

    def preflight() -> str:
        told = way.core("configs", "preflight", f"c-{model}")
        errors = [problem["message"] for problem in told["problems"] if problem["severity"] == "error"]
        if errors or not told["iters"]:
            raise RuntimeError(errors[0] if errors else "no iterations foreseen")
        way.foreseen = told["iters"]
        return f"{told['iters']} iterations, {told['tokens']} tokens an epoch"

    def stopped() -> str:
        run = way.core("train", "start", f"c-{model}", "--no-early-stop")["run"]
        until = time.monotonic() + 1200
        while (state := way.core("train", "status", run))["status"] == "RUNNING" and (state["iter"] or 0) < 3:
            if time.monotonic() > until:
                raise RuntimeError("no third iteration in 20 minutes")
            time.sleep(2)
        if state["status"] not in ("RUNNING", "PENDING"):
            raise RuntimeError(state["reason"] or state["status"])
        left = way.core("train", "stop", run)
        way.run = run
        return f"progress told; stopped and saved at iteration {left['iter']}"

    def resumed() -> str:
        told = way.core("train", "resume", way.run, "--wait")
        if told["iter"] != way.foreseen:
            raise RuntimeError(f"{told['iter']} iterations where {way.foreseen} were foreseen")
        points = way.core("train", "metrics", way.run)["points"]
        return f"to iteration {told['iter']}, one line of losses, {points[0]['loss']:.2f} → {points[-1]['loss']:.2f}"

    def early() -> str:
        told = way.core("train", "start", f"c-{model}", "--early-stop", "--wait")
        looks = (told["early_stop"] or {}).get("looks") or []
        if not looks:
            raise RuntimeError("it never looked")
        return f"looked {len(looks)} times, ended at iteration {told['iter']} of {told['max_iters']}"

    def export() -> str:
        way.core("export", "convert", way.run)
        way.core("export", "merge", way.run)
        told = way.core("export", "verify", way.run)
        if not told["ok"]:
            raise RuntimeError(f"logits {told['max_abs_logit_diff']:.1e} apart, same tokens: {told['same_tokens']}")
        return f"logits {told['max_abs_logit_diff']:.1e} apart, same tokens"

    def chat() -> str:
        told = way.core("chat", "ask", "--run", way.run, "--prompt", question, "--max-new-tokens", "48")
        return f"{told['base']['answer'][:60]!r} → {told['tuned']['answer'][:90]!r}"

    def score() -> str:
        began = time.monotonic()
        told = way.core("chat", "score", way.run, *["--quick"] * quick)
        minutes, extent = (time.monotonic() - began) / 60, "a sample of the questions" if quick else "all questions"
        identity = f"identity {told['identity']['base']:.2f} → {told['identity']['tuned']:.2f}"
        return f"{identity}, verdict: {told['verdict']}; {extent}, {minutes:.0f} min"

    way.step("link", link)
    for name, work in (
        ("dataset", dataset),
        ("config (`fast`)", config),
        ("preflight", preflight),
        ("train, progress, stop", stopped),
        ("resume", resumed),
    ):
        if not way.step(name, work):
            return
    for name, work in (("early stop", early), ("convert, merge, verify", export), ("chat", chat), ("score", score)):
        way.step(name, work)


def table(engine: dict[str, Any], ways: dict[str, Way]) -> str:
    """Return the results as the page's table."""
    versions = engine["versions"]
    said = ", ".join(
        f"{name} {versions[name]}"
        for name in ("python", "xtuner", "torch", "transformers", "peft", "deepspeed")
        if versions.get(name)
    )
    lines = [f"Run on {time.strftime('%Y-%m-%d')} without a GPU: {said}.", ""]
    lines += ["| step | " + " | ".join(ways) + " |", "| --- |" + " --- |" * len(ways)]
    for step in dict.fromkeys(step for way in ways.values() for step in way.steps):
        cells = [way.steps.get(step, "not reached").replace("|", "\\|").replace("\n", " ") for way in ways.values()]
        lines.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Build the engine, run both workflows, write the table; return the number of failed steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("xtuner", type=Path, help="the source of XTuner v0.1.21")
    parser.add_argument("--python", default=os.environ.get("PYTHON310", "3.10"))
    parser.add_argument("--workspace", type=Path, help="default: one that is thrown away")
    parser.add_argument("--quick-score", action="store_true", help="a fixed sample of the questions, not all")
    options = parser.parse_args()
    xtuner = options.xtuner.expanduser().absolute()
    if not re.search(r"__version__ = '0\.1\.21'", (xtuner / "xtuner" / "version.py").read_text(encoding="utf-8")):
        parser.error(f"{xtuner} is not the source of XTuner 0.1.21")
    python = environment(xtuner, options.python)
    given = contextlib.nullcontext(str(options.workspace)) if options.workspace else tempfile.TemporaryDirectory()
    with given as directory:
        workspace = Path(directory)
        workspace.mkdir(exist_ok=True)
        smol = Way(workspace, python, "SmolLM2")
        toy = Way(workspace, python, "InternLM2")
        checked: dict[str, Any] = {}

        def engine() -> str:
            checked.update(toy.core("engine", "use", str(python)))
            return "loads"

        # Checked every time, because the table contains its versions.
        toy.steps.pop("engine", None)
        if not toy.step("engine", engine):
            return 1
        small = made(workspace, "small")["name"]

        def link_small() -> str:
            return "real weights, " + (smol.core("models", "check", small)["architecture"] or "?")

        def link_toy() -> str:
            place = internlm2(workspace, xtuner)
            return "the toy's weights, " + toy.core("models", "link", str(place), "--name", "internlm2")["architecture"]

        go(smol, small, "en", link_small, quick=options.quick_score)
        go(toy, "internlm2", "zh", link_toy, quick=options.quick_score)
        smol.steps = {"engine": toy.steps["engine"], **smol.steps}
        ways = {"SmolLM2-135M-Instruct (real weights)": smol, "InternLM2 (the toy's weights, the code of 0.1.21)": toy}
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table(checked, ways)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return sum(said.startswith(FAILED) for way in ways.values() for said in way.steps.values())


if __name__ == "__main__":
    raise SystemExit(main())
