"""What the questions of a finished run cost: this code against an earlier checkout of it, on the run's own weights.

    python -m benchmarks.looks RUN --before DIR [--rounds 1]

RUN is the directory of a run with early stopping and at least one checkpoint. Both checkouts go through its looks and
its timeline's evaluations in turn, in a process each, with one thread. Between checkpoints the adapter is interpolated,
before the first from nothing. The base model's answers are taken from the run, as in a second run with a model; what
they cost is `base`. CPU seconds and what was read by the model: passes, and tokens with their padding. Then this code
looks once more as often as the run did, `at_the_same`, to tell whether answers and looks are the same.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.measure import say, spread, write
from benchmarks.product import PROJECT
from core.engine.config_file import ConfigFile

# XTuner's tokens for an answer of the timeline, before training and later.
BEFORE, MOST = 50, 64


def main() -> None:
    """Run both in turn and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--raw", type=Path, help="also write every round here, after each")
    parser.add_argument("--here", choices=("planned", "recorded"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(questions(options.run, options.here == "planned")))
        return
    ran: dict[str, list[dict[str, Any]]] = {"before": [], "now": []}
    for number in range(options.rounds):
        for which in ("before", "now") if number % 2 == 0 else ("now", "before"):
            project = options.before if which == "before" else PROJECT
            ran[which].append(asked(options.run.resolve(), project))
            say(f"{which}: {json.dumps(summed(ran[which][-1]))}")
            if options.raw:
                options.raw.write_text(json.dumps(ran))
    pairs = [(summed(before), summed(now)) for before, now in zip(ran["before"], ran["now"], strict=True)]
    figures: dict[str, Any] = {"iterations": ran["now"][-1]["iterations"], "rounds": options.rounds}
    for place, which in enumerate(ran):
        figures[which] = {key: spread([pair[place][key] for pair in pairs]) for key in pairs[0][place]}
    figures["now_over_before"] = {
        key: spread([now[key] / before[key] for before, now in pairs])
        for key in ("all_cpu_s", "looks_cpu_s", "timeline_cpu_s")
    }
    one, other = ran["before"][-1], asked(options.run.resolve(), PROJECT, "recorded")
    figures["at_the_same"] = summed(other)
    said = [[event["said"] for event in ran["events"] if event["what"] != "look"] for ran in (one, other)]
    figures["answers_that_differ"] = sum(a != b for a, b in zip(*map(flat, said), strict=True))
    # A look that can no longer end the run may be left out now.
    looks = {look["iter"]: look for look in one["looks"]}
    figures["looks_that_differ"] = sum(looks.get(look["iter"]) != look for look in other["looks"])
    figures["looks"] = {"before": one["looks"], "now": ran["now"][-1]["looks"]}
    write("looks", figures)


def summed(ran: dict[str, Any]) -> dict[str, float]:
    """Return the sums over the events of a kind, and over all but the base model's answers."""
    kinds = {"looks": ("look",), "timeline": ("timeline",), "all": ("look", "timeline"), "base": ("base",)}
    return {
        f"{name}_{key}": round(sum(one[key] for one in ran["events"] if one["what"] in kind), 2)
        for name, kind in kinds.items()
        for key in ("cpu_s", "passes", "tokens")
    }


def flat(answers: list[list[list[int]]]) -> list[list[int]]:
    """Return the answers to all questions, whenever they were asked."""
    return [answer for event in answers for answer in event]


def asked(run: Path, project: Path, plan: str = "planned") -> dict[str, Any]:
    """Run `questions` with the code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    # This file, with the core of that checkout.
    argv = [sys.executable, "-P", __file__, str(run), "--before", ".", "--here", plan]
    done = subprocess.run(argv, env=environment, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def questions(run: Path, planned: bool) -> dict[str, Any]:
    """Go through the looks and evaluations of a run; `planned`: looks as this checkout would plan them."""
    import logging
    import shutil
    import tempfile

    from core.training import early_stop as planning

    plan = json.loads((run / "run.json").read_text())["early_stop"]
    if planned:
        plan["probe"] = plan["first"] if plan["keeps"] else getattr(planning, "PROBE", plan["first"])
        plan["looks"] = planning.KEPT_LOOKS if plan["keeps"] else planning.LOOKS
        plan["earliest"] = getattr(planning, "KEPT_EARLIEST", 0.0) if plan["keeps"] else 0.0
    recorded = json.loads((run / "early_stop.json").read_text())
    out = Path(tempfile.mkdtemp())
    (out / "run.json").write_text(json.dumps({"early_stop": plan}))
    llm, tokenizer, states = trained(run, Path(plan["tokenizer"]))
    last = max(states)

    from benchmarks.evaluations import held
    from core.engine.workers import asking, early_stop
    from core.engine.workers.asking import Asking

    early_stop.PLAN = str(out / "run.json")
    runner = held(llm)
    runner.optim_wrapper = mixed(llm)
    runner.hooks, runner.max_iters, runner.iter = [SimpleNamespace(tokenizer=tokenizer)], last, 0
    runner.logger = logging.getLogger()
    runner.train_dataloader = SimpleNamespace(dataset=rows(run, tokenizer))
    looks = early_stop.Looks(runner)
    looks.early.seen["base"] = recorded["base"]
    timeline = Asking(runner, tokenizer, plan["stop_words"])
    read: list[int] = []
    decoder = llm.get_base_model().get_decoder()
    decoder.register_forward_pre_hook(lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True)
    events: list[dict[str, Any]] = []

    def event(what: str, at: int, work: Any) -> None:
        read.clear()
        began = time.process_time()
        said = work()
        spent = round(time.process_time() - began, 2)
        events.append({"what": what, "at": at, "cpu_s": spent, "passes": len(read), "tokens": sum(read), "said": said})
        print(events[-1], file=sys.stderr)

    def base(prompts: list[str], most: int) -> list[list[int]]:
        return [one.ids for one in timeline.ask(prompts, most, base=True)]

    def answers(at: int) -> list[list[int]]:
        known = {"at": at} if "at" in Asking.ask.__kwdefaults__ else {}
        asked = plan["identity"][-2:]
        taught = [timeline.taught(prompt) for prompt in asked] if hasattr(timeline, "taught") else []
        most = min(MOST, max(taught) + asking.SPARE) if taught and all(taught) else MOST
        return [one.ids for one in timeline.ask(asked, most, **known)]

    # The timeline's answers before training.
    event("base", 0, lambda: base(plan["identity"][-2:], BEFORE))
    config = ConfigFile((run / "work_dir" / "config.py").read_text(encoding="utf-8"))
    every = config.get("evaluation_freq")
    for at in range(1, last + 1):
        evaluated, looked = at % every == 0 or at == last, at % looks.every == 0 and at < last
        looked = looked and (not hasattr(looks.early, "due") or looks.early.due(at, last, looks.every))
        if evaluated or looked:
            put(llm, states, at)
        if evaluated:
            event("timeline", at, lambda at=at: answers(at))
        if looked:
            event("look", at, lambda at=at: looks.learned(runner, at))
    event("base", last, lambda: base(plan["general"], plan["max_new_tokens"]))
    shutil.rmtree(out)
    return {"iterations": last, "events": events, "looks": looks.early.seen["looks"]}


def trained(run: Path, model: Path) -> tuple[Any, Any, dict[int, dict[str, Any]]]:
    """Return the model with the run's kind of adapter, its tokenizer, and the adapter's weights by iteration."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    states = {
        int(path.stem.removeprefix("iter_")): {
            name.removeprefix("llm."): weight
            for name, weight in torch.load(path, map_location="cpu", weights_only=False)["state_dict"].items()
            if ".lora_" in name
        }
        for path in (run / "work_dir").glob("iter_*.pth")
    }
    names = next(iter(states.values()))
    targets = sorted({name.partition(".lora_")[0].rpartition(".")[2] for name in names})
    rank = next(len(weight) for name, weight in names.items() if ".lora_A" in name)
    config = ConfigFile((run / "work_dir" / "config.py").read_text(encoding="utf-8"))
    half = str(config.get("model.llm.torch_dtype")) == "torch.bfloat16"
    how = {"torch_dtype": torch.bfloat16, "attn_implementation": "eager"} if half else {"torch_dtype": torch.float32}
    plain = AutoModelForCausalLM.from_pretrained(model, **how)
    lora = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")
    return get_peft_model(plain, lora).eval(), AutoTokenizer.from_pretrained(model), states


def mixed(llm: Any) -> Any:
    """Return the optimizer's wrapper that tells in which precision a model is computed: None in its own."""
    import torch
    from mmengine.optim import AmpOptimWrapper

    if llm.dtype is not torch.bfloat16:
        return None
    wrapper = AmpOptimWrapper.__new__(AmpOptimWrapper)
    wrapper.cast_dtype = torch.bfloat16
    return wrapper


def put(llm: Any, states: dict[int, dict[str, Any]], at: int) -> None:
    """Give the adapter its weights after `at` iterations: between the two checkpoints next to them."""
    import torch

    after = min(one for one in states if one >= at)
    before = max((one for one in states if one < at), default=0)
    part = (at - before) / (after - before)
    with torch.no_grad():
        for name, weight in llm.named_parameters():
            if ".lora_" not in name:
                continue
            new = states[after][name]
            # B begins as zero; A hardly moves.
            old = states[before][name] if before else (new if ".lora_A" in name else torch.zeros_like(new))
            weight.copy_(torch.lerp(old, new, part))


def rows(run: Path, tokenizer: Any) -> list[dict[str, Any]]:
    """Return the tokens of the run's data, in the prompt template of its questions."""
    plan = json.loads((run / "run.json").read_text())
    prompt = plan["early_stop"]["identity"][-1]
    question = plan["early_stop"]["identity"][-1].partition("user\n")[2].partition("<|im_end|>")[0]
    data = run.parent.parent / "datasets" / plan["config"]["dataset"] / "data.json"
    return [
        {
            "input_ids": tokenizer.encode(
                prompt.replace(question, turn["input"]) + turn["output"], add_special_tokens=False
            )
        }
        for row in json.loads(data.read_text())
        for turn in row["conversation"]
    ]


if __name__ == "__main__":
    main()
