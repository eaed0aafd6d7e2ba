"""Exports of the demo model and their possible failures, in one process: `export_cases WORKSPACE RUN OUT`.

Each case is a function; its result is printed as JSON under its name. The worker's own code does the work.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from core.engine.workers.export_worker import Export, Progress
from core.engine.workers.published import give_tokenizer
from core.ground import garbage
from core.ground.files import read_json, write_json

WORKSPACE, RUN, OUT = map(Path, sys.argv[1:4])
BASE = WORKSPACE / "models" / "demo"
PLAN = json.loads((RUN / "export" / "plan.json").read_text(encoding="utf-8"))


def export(case, steps=("merge", "verify"), **changes):
    """Run steps with a modified plan; return what each found, or why it stopped."""
    place = OUT / case
    place.mkdir(parents=True, exist_ok=True)
    plan = {**PLAN, "adapter": str(RUN / "adapter"), "merged": str(place / "merged"), "results": str(place), **changes}
    progress = Progress(list(steps))
    work, found = Export(plan, progress), {}
    for step in steps:
        progress.begin(step)
        try:
            found[step] = getattr(work, step)()
        except (SystemExit, ValueError) as error:
            found[step] = {"stopped": str(error)}
    return found


def tensors(directory):
    return {name: t for file in sorted(Path(directory).glob("*.safetensors")) for name, t in load_file(file).items()}


def equal(one, two):
    """Return the largest difference of any tensor; infinite if names or dtypes differ."""
    if one.keys() != two.keys() or any(one[n].dtype != two[n].dtype for n in one):
        return float("inf")
    return max(float((one[n].float() - two[n].float()).abs().max()) for n in one)


def model(path=BASE, dtype="auto"):
    return AutoModelForCausalLM.from_pretrained(path, torch_dtype=dtype, trust_remote_code=True)


def random_adapter(name, seed=0, **settings):
    """Write an adapter created by PEFT whose B is not zero."""
    torch.manual_seed(seed)
    made = get_peft_model(model(), LoraConfig(task_type="CAUSAL_LM", **{"r": 4, "lora_alpha": 8, **settings}))
    with torch.no_grad():
        for parameter_name, parameter in made.named_parameters():
            if "lora_B" in parameter_name or "modules_to_save" in parameter_name:
                parameter += 0.02 * torch.randn_like(parameter)
    made.save_pretrained(str(OUT / name))
    give_tokenizer(PLAN, OUT / name)
    return OUT / name


def by_peft(adapter, dtype="auto"):
    return PeftModel.from_pretrained(model(dtype=dtype), str(adapter)).merge_and_unload().state_dict()


LAYERS = ["wqkv", "wo", "w1", "w2", "w3"]


def as_peft_merges():
    """Plain adapters of several kinds, merged by us and by PEFT; and the same in half precision."""
    found = {}
    kinds = {
        "plain": {"target_modules": LAYERS},
        "rslora": {"target_modules": LAYERS, "use_rslora": True},
        "ranks": {"target_modules": LAYERS, "rank_pattern": {"wqkv": 8}},
        "with the head": {"target_modules": [*LAYERS, "output"]},
    }
    for kind, settings in kinds.items():
        adapter = random_adapter(f"adapter {kind}", **settings)
        made = export(kind, ["merge"], adapter=str(adapter))["merge"]
        found[kind] = {**made, "difference": equal(tensors(OUT / kind / "merged"), by_peft(adapter))}
    adapter = OUT / "adapter plain"
    for dtype in ("float16", "bfloat16"):
        export(dtype, ["merge"], adapter=str(adapter), dtype=dtype)
        found[dtype] = {"difference": equal(tensors(OUT / dtype / "merged"), by_peft(adapter, getattr(torch, dtype)))}
        found[dtype]["config"] = read_json(OUT / dtype / "merged" / "config.json")["torch_dtype"]
    return found


def through_peft():
    """Adapters that are more than pairs of matrices: reported, and merged all the same."""
    found = {}
    for kind, settings in {
        "use_dora": {"target_modules": LAYERS, "use_dora": True},
        "modules_to_save": {"target_modules": LAYERS, "modules_to_save": ["output"]},
    }.items():
        adapter = random_adapter(f"adapter {kind}", **settings)
        steps = export(kind, adapter=str(adapter))
        found[kind] = {**steps["merge"], "difference": equal(tensors(OUT / kind / "merged"), by_peft(adapter))}
        found[kind]["ok"] = steps["verify"]["ok"]
    return found


def shards_as_asked():
    """Two megabytes per file: several files with an index, which load and have the same content."""
    export("shards", ["merge"], shard_bytes=2_000_000)
    files = sorted((OUT / "shards" / "merged").glob("*.safetensors"))
    return {
        "files": [file.name for file in files],
        "largest": max(file.stat().st_size for file in files),
        "difference": equal(tensors(OUT / "shards" / "merged"), tensors(RUN / "merged")),
        "loads": equal(model(OUT / "shards" / "merged").state_dict(), tensors(RUN / "merged")),
    }


def pytorch_files():
    """A base model in PyTorch's own files is also merged tensor by tensor."""
    base = OUT / "bin base"
    shutil.copytree(BASE, base)
    torch.save(tensors(base), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    made = export("bin", ["merge"], base=str(base))["merge"]
    return {**made, "difference": equal(tensors(OUT / "bin" / "merged"), tensors(RUN / "merged"))}


def altered_base(name, scale):
    """Copy the demo model with other weights of the same shapes."""
    base = OUT / name
    shutil.copytree(BASE, base)
    weights = tensors(base)
    torch.manual_seed(1)
    for key, tensor in weights.items():
        weights[key] = tensor + scale * tensor.std() * torch.randn_like(tensor)
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    return base


def wrong_base():
    """Merged into another model than the one it is verified with; and a model that was not trained on."""
    base = altered_base("other base", 0.5)
    export("wrong base", ["merge"], base=str(base))
    found = export("wrong base", ["verify"])
    found["not trained on"] = export(
        "not trained on", base=str(base), base_fingerprint="of the other", trained_on="of the demo model"
    )["verify"]
    return found


def swapped_adapter():
    """Another adapter than the merged one, with the same layers or not; and one that was never merged."""
    export("swapped", ["merge"])
    other = random_adapter("other adapter", seed=2, target_modules=[*LAYERS, "output"], r=64, lora_alpha=16)
    made = read_json(OUT / "swapped" / "merged" / "export.json")
    found = export("swapped", ["verify"], adapter=str(other))
    # The same, if nothing next to the model says what it was created from.
    del made["adapter_sha256"]
    write_json(OUT / "swapped" / "merged" / "export.json", made)
    found["unsigned"] = export("swapped", ["verify"], adapter=str(other))["verify"]
    found["other layers"] = export("swapped", ["verify"], adapter=str(random_adapter("few", target_modules=["wqkv"])))[
        "verify"
    ]
    shutil.rmtree(OUT / "swapped" / "merged")
    shutil.copytree(BASE, OUT / "swapped" / "merged")
    found["not merged"] = export("swapped", ["verify"])["verify"]
    return found


def bf16_base(name, tensor, row):
    """Copy the demo model in bf16, with values in one row of a tensor that fp16 cannot represent."""
    base = OUT / name
    shutil.copytree(BASE, base)
    weights = {key: value.bfloat16() for key, value in tensors(base).items()}
    weights[tensor][row, :3] = 3e5
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    write_json(base / "config.json", {**read_json(base / "config.json"), "torch_dtype": "bfloat16"})
    return str(base)


def overflow():
    """A bf16 model with values that fp16 cannot represent; and with such values where they affect no answer."""
    found = export("overflow", base=bf16_base("bf16", "model.layers.0.feed_forward.w1.weight", 0), dtype="float16")
    quiet = bf16_base("bf16 quiet", "model.tok_embeddings.weight", 0)
    found["kept"] = export("bf16 kept", base=quiet)["verify"]
    found["quiet"] = export("overflow quiet", base=quiet, dtype="float16")["verify"]
    return found


def precision():
    """A float32 model whose merged form somebody stored as bf16; and the same by choice."""
    export("precision", ["merge"])
    merged = OUT / "precision" / "merged"
    save_file({n: t.bfloat16() for n, t in tensors(merged).items()}, merged / "model.safetensors", {"format": "pt"})
    write_json(merged / "config.json", {**read_json(merged / "config.json"), "torch_dtype": "bfloat16"})
    return {**export("precision", ["verify"]), "chosen": export("chosen", dtype="bfloat16")["verify"]}


def misfit():
    """An adapter for a model of another size."""
    adapter = OUT / "misfit adapter"
    shutil.copytree(RUN / "adapter", adapter)
    weights = tensors(adapter)
    save_file({n: t[:, :-8].contiguous() if "lora_A" in n else t for n, t in weights.items()}, adapter / "adapter_model.safetensors")  # fmt: skip
    found = export("misfit", ["merge"], adapter=str(adapter))
    return {**found, "left": sorted(path.name for path in (OUT / "misfit").iterdir())}


def full_fine_tune():
    """A checkpoint of a complete model as XTuner writes it: no merge, and the directory is standalone."""
    from mmengine.logging import HistoryBuffer

    checkpoint = OUT / "iter_9.pth"
    tuned = tensors(altered_base("tuned", 0.01))
    config = "model = dict(type='xtuner.model.SupervisedFinetune', llm=dict(type='x'))\n"
    content = {"state_dict": {f"llm.{n}": t for n, t in tuned.items()}, "meta": {"cfg": config}}
    torch.save({**content, "message_hub": {"loss": HistoryBuffer()}, "optimizer": {"big": torch.zeros(9)}}, checkpoint)
    found = export("full", ["convert", "verify"], kind="full", checkpoint=str(checkpoint))
    return {**found, "difference": equal(tensors(OUT / "full" / "merged"), tuned)}


def twice():
    """Converting twice leaves the adapter unchanged."""
    changes = {"adapter": str(OUT / "twice" / "adapter"), "checkpoint": PLAN["checkpoint"]}
    first = export("twice", ["convert"], **changes)["convert"]
    made = read_json(OUT / "twice" / "adapter" / "export.json")["made"]
    again = export("twice", ["convert"], **changes)["convert"]
    return {
        "first": first,
        "again": again,
        "kept": made == read_json(OUT / "twice" / "adapter" / "export.json")["made"],
        "difference": equal(tensors(OUT / "twice" / "adapter"), tensors(RUN / "adapter")),
        "loads": float(PeftModel.from_pretrained(model(), OUT / "twice" / "adapter").peft_config["default"].r),
    }


def missing_code():
    """A base model with a missing code file."""
    base = OUT / "codeless"
    shutil.copytree(BASE, base)
    (base / "configuration_internlm2.py").unlink()
    found = export("codeless merged", ["merge"], base=str(base))
    return {**found, "there": (OUT / "codeless merged" / "merged").exists()}


CASES = [
    as_peft_merges, through_peft, shards_as_asked, pytorch_files, wrong_base, swapped_adapter, overflow, precision,
    misfit, full_fine_tune, twice, missing_code,
]  # fmt: skip

if __name__ == "__main__":
    garbage.resume()
    chosen = [case for case in CASES if case.__name__ in sys.argv[4:] or len(sys.argv) == 4]
    print("\n" + json.dumps({case.__name__: case() for case in chosen}))
