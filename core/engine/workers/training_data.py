"""The sequence lengths of an epoch, computed without building a config's dataset.

Part of the workers that run in the engine's interpreter. Uses XTuner's own map functions, templates, `encode_fn` and
the arithmetic of its `Packer`, but encodes each distinct row once and avoids XTuner's imports. Supports
`process_hf_dataset` on local JSON; raises NotKnown for everything else, which XTuner itself must build.
"""

import copy
import importlib
import importlib.util
import json
import random
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.engine.workers import code_gate, ending
from core.engine.workers.beginning import install
from core.engine.workers.built_config import NAME, named
from core.ground import garbage

# How many shuffles to try if the config has no seed.
ORDERS = 9


class NotKnown(Exception):  # noqa: N818
    """A kind of dataset that only XTuner itself can read."""


class NoData(Exception):  # noqa: N818
    """The data that a config names is missing or unusable; the message says which."""


def lengths(dataset: "dict[str, Any]", seed: "int | None") -> "dict[str, Any]":
    """Return the sequences of an epoch and the totals of its rows.

    `sequences` (tokens of each), `texts` (which are texts, if none is packed), `rows`, `truncated`, `raw_longest`,
    `dropped`, `packs` (least and most sequences).
    `packs` differ only if rows are shuffled before packing in several pieces, and no seed is given.
    """
    if (
        named(dataset.get("type")) != "process_hf_dataset"
        or dataset.get("rename_maps")
        or dataset.get("with_image_token")
    ):
        raise NotKnown
    if dataset.get("max_dataset_length") is not None or dataset.get("do_dataset_tokenization") is False:
        raise NotKnown
    rows = list(read_rows(dataset.get("dataset")))
    most = dataset["max_length"]
    raw, kept, texts = [], [], []
    known: dict[str, tuple[int, bool, bool] | None] = {}
    encode = encoder(dataset, rows)
    for row in rows:
        key = json.dumps(row, ensure_ascii=False)
        if key not in known:
            known[key] = encode(row)
        if known[key] is not None:
            length, learned, text = known[key]
            raw.append(length)
            if learned:
                kept.append(min(length, most))
                texts.append(text)
    found = {
        "rows": len(rows),
        "dropped": len(rows) - len(kept),
        "truncated": sum(length > most for length in raw),
        "raw_longest": max(raw, default=0),
        "raw_tokens": sum(raw),
    }
    if not kept:
        raise NoData("no row has an answer to learn from")
    if not dataset.get("pack_to_max_length", True):
        return {**found, "sequences": kept, "texts": texts, "packs": [len(kept), len(kept)]}
    processes = dataset.get("map_num_proc", 32) or 1
    shuffled = dataset.get("shuffle_before_pack", True)
    if shuffled and (seed is not None or processes > 1):
        orders = [shuffle(kept, seed)] if seed is not None else [shuffle(kept, other) for other in range(ORDERS)]
    else:
        orders = [kept]
    packed = sorted((pack(order, most, processes) for order in orders), key=len)
    middle = packed[len(packed) // 2]
    return {**found, "sequences": middle, "packs": [len(packed[0]), len(packed[-1])]}


def pack(lengths: "list[int]", most: int, processes: int) -> "list[int]":
    """Return the sequences that XTuner's `Packer` makes of these row lengths, mapped by `processes` in batches of 1000.

    Each process has its own packer; the remainder of its last batch is lost, and a batch too short to fill a pack is
    one by itself (`xtuner/dataset/utils.py`, and `Dataset.map` of `datasets`).
    """
    found = []
    for piece in pieces(lengths, processes):
        left = 0
        for start in range(0, len(piece), 1000):
            total = left + sum(piece[start : start + 1000])
            if total >= most:
                found += [most] * (total // most)
                left = total % most
            else:
                found.append(total)
                left = 0
    return found


def pieces(rows: "list[int]", count: int) -> "Iterator[list[int]]":
    """Split `rows` into contiguous pieces as `Dataset.shard` does."""
    count = min(count, len(rows))
    each, more = divmod(len(rows), count)
    for index in range(count):
        start = each * index + min(index, more)
        yield rows[start : start + each + (index < more)]


def shuffle(rows: "list[int]", seed: int) -> "list[int]":
    """Return the order of `Dataset.shuffle()` in a process whose NumPy was seeded with `seed`, as by mmengine."""
    import numpy as np

    np.random.seed(seed)
    _, state, position, *_ = np.random.get_state()
    order = np.random.default_rng(state[position] if position < 624 else state[0]).permutation(len(rows))
    return [rows[index] for index in order]


def padded_tokens(sequences: "list[int]", batch_size: int, texts: "list[bool] | None" = None) -> float:
    """Return the tokens of a batch including padding, averaged over random batches of an epoch.

    `texts` are padded apart from the other rows, as `keeping.texts_apart` does.
    """
    order = list(zip(sequences, texts or [False] * len(sequences), strict=True))
    random.Random(0).shuffle(order)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    parts = [[length for length, text in batch if text is kind] for batch in batches for kind in (True, False)]
    return sum(len(part) * max(part, default=0) for part in parts) / len(batches)


def read_rows(source: Any) -> "Iterator[dict[str, Any]]":
    """Yield the rows of local JSON or JSON Lines files, as `load_dataset("json", …)` would read them."""
    if not isinstance(source, dict) or named(source.get("type")) != "load_dataset":
        raise NotKnown
    if source.get("path") != "json":
        if not Path(str(source.get("path"))).exists():
            raise NoData(f"the dataset {source.get('path')} is on a hub, not on this machine")
        raise NotKnown
    files = source.get("data_files")
    if isinstance(files, dict):
        files = files.get("train")
    if set(source) - {"type", "path", "data_files"} or not isinstance(files, (str, list)):
        raise NotKnown
    for file in [files] if isinstance(files, str) else files:
        path = Path(file)
        if not path.is_file():
            raise NoData(f"there is no data file {file}")
        text = path.read_text(encoding="utf-8-sig")
        try:
            rows = json.loads(text)
        except ValueError:
            try:
                rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            except ValueError as error:
                raise NoData(f"{file} is neither JSON nor JSON Lines: {error}") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise NotKnown
        yield from rows


def encoder(dataset: "dict[str, Any]", rows: "list[dict[str, Any]]") -> Any:
    """Return a function from a row to its length in tokens and what is learned of it; None for an empty row.

    That is whether any token within the limit is, and whether the first is, as of a text.
    """
    xtuner = borrowed()
    map_row, wrap = row_function(dataset.get("dataset_map_fn"), xtuner), template_function(dataset, xtuner)
    tokenizer = load_tokenizer(dataset.get("tokenizer"))
    most, count = dataset["max_length"], xtuner["encode_fn"]
    keys = turn_keys(rows)

    def encode(row: "dict[str, Any]") -> "tuple[int, bool, bool] | None":
        row = copy.deepcopy(row)
        for turn in row.get("conversation", []) if keys else []:
            for key in keys:
                turn.setdefault(key, None)
        if map_row is not None:
            row = {**row, **map_row(row)}
        if wrap is not None:
            row = {**row, **wrap(row)}
            if not row["conversation"]:
                return None
        made = count(row, tokenizer, 1 << 60)
        labels = made["labels"][:most]
        return len(made["input_ids"]), any(label >= 0 for label in labels), bool(labels) and labels[0] >= 0

    return encode


def turn_keys(rows: "list[dict[str, Any]]") -> "set[str]":
    """Return the keys that only some turns have: as columns, the other turns get them too, empty."""
    shapes = {frozenset(turn) for row in rows for turn in row.get("conversation") or [] if isinstance(turn, dict)}
    return set().union(*shapes) - frozenset.intersection(*shapes) if len(shapes) > 1 else set()


def row_function(value: Any, xtuner: "dict[str, Any]") -> Any:
    """Return XTuner's map function of that name; None for none."""
    if value is None:
        return None
    name = value.get(NAME, "") if isinstance(value, dict) else ""
    if not name.startswith("xtuner.dataset.map_fns"):
        raise NotKnown
    return xtuner["map_fns"].get(named(value)) or _unknown()


def template_function(dataset: "dict[str, Any]", xtuner: "dict[str, Any]") -> Any:
    """Return XTuner's template function for the config's template, by name or written out; None for none."""
    value = dataset.get("template_map_fn")
    if value is None:
        return None
    if not isinstance(value, dict) or named(value.get("type")) != "template_map_fn_factory":
        raise NotKnown
    template = value.get("template")
    if isinstance(template, dict) and NAME in template:
        template = xtuner["templates"].get(named(template)) or _unknown()
    return xtuner["map_fns"]["template_map_fn_factory"](xtuner["to_config"](template))


def load_tokenizer(value: Any) -> Any:
    """Return the tokenizer of a config. Raises NoData if it is not on this machine."""
    if not isinstance(value, dict) or "AutoTokenizer" not in str(value.get("type")):
        raise NotKnown
    from transformers import AutoTokenizer

    garbage.resume()
    options = {key: part for key, part in value.items() if key != "type"}
    path = options.pop("pretrained_model_name_or_path", None)
    if path is None or not Path(str(path)).is_dir():
        raise NoData(f"the tokenizer {path} is not on this machine")
    code_gate.close()
    return AutoTokenizer.from_pretrained(path, **options)


def borrowed() -> "dict[str, Any]":
    """Return XTuner's data functions, loaded from their files without its packages' other imports (20 s of them)."""
    found = importlib.util.find_spec("xtuner")
    root = Path(next(iter(found.submodule_search_locations or [])))
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "xtuner"}
    try:
        for name in ("xtuner", "xtuner.dataset", "xtuner.utils"):
            package = types.ModuleType(name)
            package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
            sys.modules[name] = package
        utils = sys.modules["xtuner.utils"]
        for name in ("constants", "templates"):
            utils.__dict__.update(vars(importlib.import_module(f"xtuner.utils.{name}")))
        map_fns = vars(importlib.import_module("xtuner.dataset.map_fns"))
        encode_fn = install(importlib.import_module("xtuner.dataset.utils")).encode_fn
        ending.install(vars(sys.modules["xtuner.dataset.map_fns.template_map_fn"]))
    except (ImportError, AttributeError) as error:
        raise NotKnown from error
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "xtuner"]:
            del sys.modules[name]
        sys.modules.update(before)
    from mmengine.config import ConfigDict

    return {
        "map_fns": map_fns,
        "encode_fn": encode_fn,
        "templates": utils.PROMPT_TEMPLATE,
        "to_config": lambda value: value if isinstance(value, ConfigDict) else ConfigDict(value),
    }


def _unknown() -> Any:
    raise NotKnown
