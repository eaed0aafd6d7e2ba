"""Count and show tokens with the functions that XTuner itself prepares rows with; loads no model weights.

Runs in the engine's interpreter, never imported:

    python -m core.engine.workers.token_worker count  --model DIR --data FILE --template JSON --result FILE [--every N]
    python -m core.engine.workers.token_worker render --model DIR --data FILE --template JSON --result FILE
    python -m core.engine.workers.token_worker prove  --model DIR --data FILE --template JSON --result FILE

`count` writes the length of every N-th row as 32-bit numbers, and FILE.json with the totals. `render` writes each row's
tokens: number, text, whether it is trained on. `prove` compares, for each row, the tokens of training, which encodes it
in pieces, with those of the complete text, as a chat sends it. XTuner's `template_map_fn` and `encode_fn` are loaded
from their files: importing all of XTuner takes a minute on a small machine.
"""

import argparse
import importlib
import importlib.util
import json
import os
import re
import sys
import time
import types
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from core.engine.workers import code_gate, ending
from core.engine.workers.beginning import beginning, begun, install
from core.engine.workers.unneeded import leave_out, or_whole
from core.ground import garbage
from core.ground.files import write_json, write_text
from core.ground.progress import write_progress

BLOCK = 2000
# Bytes to read at once from a JSON Lines file.
READ_AT_ONCE = 8 << 20
MOST_KNOWN = 200_000
# The methods that a tokenizer call goes through.
_CALLED = ("__call__", "_call_one", "batch_encode_plus", "_batch_encode_plus", "_encode_plus")


class Template(dict):
    """A prompt template as XTuner reads it: by key and by attribute."""

    __getattr__ = dict.__getitem__


def load_xtuner() -> "tuple[Any, Any]":
    """Load XTuner's `dataset.utils` and `template_map_fn` without its package and mmengine's, which load torch."""
    for package, parts in (("xtuner", ("utils", "dataset", "dataset.map_fns")), ("mmengine", ("utils",))):
        root = Path(next(iter(importlib.util.find_spec(package).submodule_search_locations)))
        for name in ("", *parts):
            module = types.ModuleType(f"{package}.{name}".rstrip("."))
            module.__path__ = [str(root.joinpath(*name.split(".")))]
            sys.modules[module.__name__] = module
    constants = importlib.import_module("xtuner.utils.constants")
    for name in ("DEFAULT_IMAGE_TOKEN", "IGNORE_INDEX", "IMAGE_TOKEN_INDEX"):
        setattr(sys.modules["xtuner.utils"], name, getattr(constants, name))
    encoding = install(importlib.import_module("xtuner.dataset.utils"))
    mapping = importlib.import_module("xtuner.dataset.map_fns.template_map_fn")
    return encoding, ending.install(vars(mapping))


def rows_of(data: Path) -> "Iterator[dict[str, Any]]":
    """Yield the rows of a JSON array or of JSON Lines."""
    if data.suffix == ".jsonl":
        with data.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    else:
        yield from json.loads(data.read_text(encoding="utf-8"))


def sampled(data: Path, every: int) -> "Iterator[tuple[int, int, list[Any]]]":
    """Yield blocks of rows: their number, their bytes, and every `every`-th row; other lines are not parsed."""
    if data.suffix == ".jsonl":
        with data.open("rb") as file:
            first = 0
            while lines := file.readlines(READ_AT_ONCE):
                yield len(lines), sum(map(len, lines)), list(map(json.loads, lines[first::every]))
                first = (first - len(lines)) % every
    else:
        rows = json.loads(data.read_text(encoding="utf-8"))
        length, some = data.stat().st_size // max(1, len(rows)), BLOCK * every
        for start in range(0, len(rows), some):
            part = rows[start : start + some]
            yield len(part), length * len(part), part[::every]


def tell(done: float, began: float) -> None:
    """Report the fraction of the file that has been read."""
    spent = time.monotonic() - began
    write_progress(done=done, note="tokens", eta_s=spent * (1 - done) / done if done > 0.01 else None)


def encoder(tokenizer: Any) -> "Callable[[list[str]], Sequence[Any]]":
    """Return a function that encodes many texts into sequences as long as the tokenizer's own.

    It uses the Rust core, in half the time, if the class is transformers' own without code of the model around it.
    """
    from transformers import PreTrainedTokenizerFast

    own = type(tokenizer)
    if all(getattr(own, name, None) is getattr(PreTrainedTokenizerFast, name) for name in _CALLED):
        core = tokenizer.backend_tokenizer
        core.no_truncation()
        core.no_padding()
        # Older versions of tokenizers lack the fast one.
        quick = getattr(core, "encode_batch_fast", core.encode_batch)
        return lambda texts: quick(texts, add_special_tokens=False)
    return lambda texts: tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"]


def count(options: Any, tokenizer: Any, encoding: Any, apply: Any, template: Any) -> None:
    """Write the length of every row as `encode_fn` makes it; equal texts are encoded once."""
    bos, eos = (len(ids) for ids in encoding.get_bos_eos_token_ids(tokenizer))
    # If the template writes the beginning itself, it is not added again.
    written = "".join(tokenizer.convert_ids_to_tokens(encoding.get_bos_eos_token_ids(tokenizer)[0]))
    encode = encoder(tokenizer)
    known: dict[str, int] = {}
    lengths = array("I")
    size, began = max(1, options.data.stat().st_size), time.monotonic()
    seen = 0
    block: list[Any] = []

    def flush() -> None:
        texts = {text for row in block for turn in row for text in (turn["input"], turn["output"], turn["sep"])}
        new = [text for text in texts if text not in known]
        if len(known) + len(new) > MOST_KNOWN:
            known.clear()
            new = list(texts)
        if new:
            known.update(zip(new, map(len, encode(new)), strict=True))
        for row in block:
            total, needs_bos = 0, not (written and row[0]["input"].startswith(written))
            for turn in row:
                total += known[turn["input"]] + known[turn["output"]] + (bos if needs_bos else 0)
                needs_bos = turn["need_eos_token"]
                total += (eos if needs_bos else 0) + (known[turn["sep"]] if turn["sep"] else 0)
            lengths.append(total)
        block.clear()

    read = 0
    for rows, length, taken in sampled(options.data, options.every):
        for row in taken:
            block.append(prepared(row, apply, template))
            if len(block) >= BLOCK:
                flush()
                tell(min(0.99, read / size), began)
        seen += rows
        read += length
    flush()
    with open(f"{options.result}.partial", "wb") as file:
        lengths.tofile(file)
    os.replace(f"{options.result}.partial", options.result)
    totals = {"rows": seen, "counted": len(lengths), "every": options.every}
    write_json(Path(f"{options.result}.json"), totals)


def prepared(row: Any, apply: Any, template: Any) -> "list[dict[str, Any]]":
    """Return the turns of a row as `encode_fn` takes them; a text without a template as it is."""
    if template is None:
        return [{"sep": "", "need_eos_token": True, **turn} for turn in row["conversation"]]
    return apply(row, template)["conversation"]


def render(options: Any, tokenizer: Any, encoding: Any, apply: Any, template: Any) -> None:
    """Write the tokens of every row, and which of them the loss is computed on."""
    bos, _ = encoding.get_bos_eos_token_ids(tokenizer)
    shown = []
    for row in rows_of(options.data):
        turns = prepared(row, apply, template)
        encoded = encoding.encode_fn({"conversation": turns}, tokenizer, 10**9, True, False)
        ids, labels = encoded["input_ids"], encoded["labels"]
        texts = pieces(tokenizer, ids)
        tokens = [
            {"id": token, "text": text, "trained": label != -100}
            for token, text, label in zip(ids, texts, labels, strict=True)
        ]
        doubled = [i for i in range(1, len(ids)) if bos and ids[i] == bos[0] and ids[i - 1] == bos[0]]
        shown.append({"tokens": tokens, "doubled_bos": doubled, "bos": bos})
    write_text(options.result, json.dumps({"rows": shown}, ensure_ascii=False))


def prove(options: Any, tokenizer: Any, encoding: Any, apply: Any, template: Any) -> None:
    """Write whether each row has the same tokens in pieces and as one text.

    Also where they first differ, and whether the beginning is doubled. Lists the template's marks that are not single
    tokens.
    """
    before = beginning(tokenizer)
    compared = []
    for row in rows_of(options.data):
        turns = prepared(row, apply, template)
        trained = encoding.encode_fn({"conversation": turns}, tokenizer, 10**9, True, False)["input_ids"]
        end = tokenizer.eos_token or ""
        text, needs_bos = "", False
        for turn in turns:
            text += (tokenizer.bos_token or "") if needs_bos and before else ""
            needs_bos = turn["need_eos_token"]
            text += turn["input"] + turn["output"] + (end if needs_bos else "") + (turn["sep"] or "")
        whole = begun(tokenizer, text)
        at = next(
            (i for i, (a, b) in enumerate(zip(trained, whole, strict=False)) if a != b), min(len(trained), len(whole))
        )
        equal = trained == whole
        compared.append(
            {
                "equal": equal,
                "at": None if equal else at,
                "trained": None if equal else tokenizer.decode(trained[at : at + 4]),
                "whole": None if equal else tokenizer.decode(whole[at : at + 4]),
                "begins_twice": bool(before) and trained[: 2 * len(before)] == before * 2,
            }
        )
    marks = set(re.findall(r"<[^<>\s{}]{1,40}>", "".join(template[key] for key in ("INSTRUCTION", "SUFFIX", "SEP"))))
    split = sorted(mark for mark in marks if len(tokenizer(mark, add_special_tokens=False).input_ids) > 1)
    write_json(options.result, {"rows": compared, "split": split})


def pieces(tokenizer: Any, ids: "list[int]") -> "list[str]":
    """Return the text of each token; if a character spans several tokens, the last has it and the others are empty."""
    special = set(tokenizer.all_special_ids)
    found, pending = [], []
    for token in ids:
        if token in special:
            found.append(tokenizer.convert_ids_to_tokens(token))
            pending = []
            continue
        pending.append(token)
        text = tokenizer.decode(pending, clean_up_tokenization_spaces=False)
        if text.endswith("\ufffd") and len(pending) < 5:
            found.append("")
            continue
        found.append(text)
        pending = []
    return found


def main() -> None:
    """Run one command, and write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("count", "render", "prove"))
    for option in ("model", "data", "result"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--template", default="")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    tell(0.0, time.monotonic())
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    # A tokenizer does not need torch, and transformers imports two seconds faster without it.
    os.environ |= {"USE_TORCH": "0", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}
    leave_out(sys.argv[1:])
    with or_whole():
        from transformers import AutoTokenizer

    garbage.resume()
    code_gate.close()
    tokenizer = AutoTokenizer.from_pretrained(options.model, trust_remote_code=True)
    encoding, apply = load_xtuner()
    template = Template(json.loads(options.template)) if options.template else None
    {"count": count, "render": render, "prove": prove}[options.what](options, tokenizer, encoding, apply, template)


if __name__ == "__main__":
    main()
