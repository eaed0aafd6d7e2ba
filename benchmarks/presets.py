"""Every preset of the installed XTuner, read, edited by the form's fields, and built by mmengine before and after.

    python -m benchmarks.presets      prints the counts, and the presets that fail

Fails if a preset changes when it is written back without an edit, or an edit changes anything else.
"""

import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from benchmarks.measure import say, seconds, write
from core.config.settings.fields import BY_NAME
from core.engine import consent, measure
from core.engine.catalogue import catalogue
from core.engine.config_file import ConfigFile
from core.engine.presets import preset_text, presets
from core.ground.files import write_text
from core.ground.workspace import Workspace

# A value that no preset has, for each setting that is a constant in the file.
EDITS: dict[str, Any] = {
    "max_length": 777,
    "pack_to_max_length": False,
    "batch_size": 3,
    "accumulative_counts": 24,
    "max_epochs": 7,
    "lr": 3.5e-4,
    "r": 24,
    "lora_alpha": 48,
    "lora_dropout": 0.07,
    "save_steps": 33,
    "evaluation_freq": 11,
    "evaluation_inputs": ["你好 'x'"],
    "SYSTEM": 'S "y"',
    "seed": 7,
    "warmup_ratio": 0.21,
    "weight_decay": 0.05,
    "max_norm": 2.5,
    "save_total_limit": 9,
    "max_new_tokens": 31,
    "log_interval": 2,
    "map_num_proc": 1,
    "dataloader_num_workers": 6,
    "use_activation_checkpointing": False,
    "shuffle_before_pack": False,
    "attn_implementation": "sdpa",
}
# Settings with other names in the file or the model.
OTHER_NAMES = {
    "interval": ("save_steps", "log_interval"),
    "log_interval": ("log_interval",),
    "max_keep_ckpts": ("save_total_limit",),
    "every_n_iters": ("evaluation_freq",),
    "system": ("SYSTEM",),
    "num_workers": ("dataloader_num_workers",),
    "warm_up_ratio": ("warmup_ratio",),
}


def edited(name: str) -> tuple[str, dict[str, Any]]:
    """Return a preset's text after all edits that apply to it, and the previous value of each setting."""
    config, done = ConfigFile(preset_text(name)), {}
    for setting, value in EDITS.items():
        field = BY_NAME[setting]
        if field.editable(config) and field.read(config) != value:
            done[setting] = field.read(config)
            field.write(config, value)
    return config.text, done


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value of a built config with its path."""
    if isinstance(value, dict) and "$name" not in value:
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, part in enumerate(value):
            yield from leaves(part, f"{path}[{number}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def unexpected(before: dict[str, Any], after: dict[str, Any], done: dict[str, Any]) -> list[str]:
    """Return paths that changed in other ways than the edits say, and edits that no path shows.

    Values that presets compute from a setting (`end=warmup_ratio * max_epochs`) change in proportion to it.
    """
    old, new = dict(leaves(before)), dict(leaves(after))
    ratios = [
        EDITS[name] / was for name, was in done.items() if isinstance(was, int | float) and was and was is not True
    ]
    products = [1.0, *ratios, *(one * other for one, other in combinations(ratios, 2))]
    wrong, seen = [], set()
    for path in old.keys() | new.keys():
        if old.get(path) == new.get(path):
            continue
        key = path.removesuffix(".$name").rpartition(".")[2]
        was, value = (json.loads(side[path]) if path in side else None for side in (old, new))
        names = [name for name in OTHER_NAMES.get(key, (key,)) if name in done and value == EDITS[name]]
        seen.update(names)
        replaced = path.endswith(".$name") and path.removesuffix(".$name") in new
        both = isinstance(was, int | float) and isinstance(value, int | float) and bool(was)
        if not names and not replaced and not (both and any(math.isclose(value / was, one) for one in products)):
            wrong.append(f"{path}: {old.get(path)} -> {new.get(path)}")
    return wrong + [f"{name} changed nothing" for name in done if name not in seen]


def check(names: list[str]) -> tuple[Counter, dict[str, list[str]]]:
    """Return counts, and the problems of each preset."""
    counts, wrong = Counter(), {}
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace.open(scratch)
        files, edits = {}, {}
        for name in names:
            text = preset_text(name)
            counts["opened"] += 1
            if ConfigFile(text).text.encode() == presets()[name].read_bytes():
                counts["same_to_the_byte"] += 1
            else:
                wrong[name] = ["not the same to the byte"]
            changed, edits[name] = edited(name)
            counts["edits"] += len(edits[name])
            files[name] = Path(scratch) / "edited" / f"{name}.py"
            write_text(files[name], changed)
            consent.agree(workspace, changed)
        built = measure.built(workspace, [*(presets()[name] for name in names), *files.values()])
        for name in names:
            before, after = built[str(presets()[name])], built[str(files[name])]
            faults = unexpected(before, after, edits[name])
            counts["built_with_only_the_edits"] += not faults
            if faults:
                wrong.setdefault(name, []).extend(faults)
    return counts, wrong


def main() -> int:
    """Check all presets; return the exit code."""
    names = list(presets())
    found: list[Any] = []
    took = seconds(lambda: found.extend(check(names)))
    counts, wrong = found
    kinds = Counter(catalogue()[name].kind for name in names)
    for name, faults in wrong.items():
        say(f"{name}: {'; '.join(faults[:3])}")
    write("presets", {"presets": len(names), "kinds": dict(kinds), **counts, "wrong": len(wrong), "seconds": took})
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
