"""What stands before the first token of a row: the same in training, evaluation, chat, scores and verification.

XTuner puts the tokenizer's BOS before every row, whatever the model was tuned with; a tokenizer adds it by itself or not;
a chat template writes it or not, and for some models BOS is the first mark of the template (`<|im_start|>`), which then
stood there twice. Here it is decided once: what the tokenizer adds, else BOS where the model's chat template has it,
else nothing (without a chat template, as XTuner does); and never twice.

A part of the workers, in the engine's interpreter. Runs no template.
"""

import functools
import sys
from typing import Any

_ORIGINAL: "dict[str, Any]" = {}


def beginning(tokenizer: Any) -> "list[int]":
    """The tokens that a row begins with."""
    added = list(tokenizer("").input_ids)
    # Some end what they encode too.
    if added and added[-1] == tokenizer.eos_token_id != tokenizer.bos_token_id:
        added = added[:-1]
    if added:
        return added
    template, bos = getattr(tokenizer, "chat_template", None), tokenizer.bos_token
    if bos is None:
        return []
    if template is None:
        return [tokenizer.bos_token_id]
    written = str(template)
    return [tokenizer.bos_token_id] if "bos_token" in written or bos in written else []


def begun(tokenizer: Any, text: str) -> "list[int]":
    """The tokens of a text with what begins it, once."""
    before = _kept(tokenizer)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    return ids if ids[: len(before)] == before else before + ids


def ends(tokenizer: Any) -> "tuple[list[int], list[int]]":
    """In place of XTuner's `get_bos_eos_token_ids`, which fails where a tokenizer has no BOS."""
    eos = tokenizer.eos_token_id
    return list(_kept(tokenizer)), [] if eos is None else [eos] if isinstance(eos, int) else list(eos)


def encode_fn(example: Any, tokenizer: Any, max_length: int, *arguments: Any, **options: Any) -> "dict[str, Any]":
    """In place of XTuner's `encode_fn`: the same, but a beginning that the template writes itself stands there once."""
    before = _kept(tokenizer)
    made = _ORIGINAL["encode_fn"](example, tokenizer, max_length + len(before), *arguments, **options)
    size = len(before)
    twice = size and made["input_ids"][:size] == before == made["input_ids"][size : 2 * size]
    return {key: value[size if twice else 0 :][:max_length] for key, value in made.items()}


def install(utils: Any) -> Any:
    """Have XTuner's `dataset.utils`, and all that took its functions from there, begin rows so. Returns the module."""
    original = utils.encode_fn
    if original is not encode_fn:
        _ORIGINAL["encode_fn"] = original
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("xtuner.") and getattr(module, "encode_fn", None) is original:
                module.encode_fn = encode_fn
        utils.encode_fn, utils.get_bos_eos_token_ids = encode_fn, ends
    return utils


def begin_texts(tokenizer: Any) -> Any:
    """Have a tokenizer's own `encode` begin texts so; what is asked for without special tokens stays without."""
    plain = tokenizer.encode

    @functools.wraps(plain)
    def encode(text: Any, **options: Any) -> Any:
        if options.get("add_special_tokens") is False or not isinstance(text, str):
            return plain(text, **options)
        ids = begun(tokenizer, text)
        if options.get("return_tensors") != "pt":
            return ids
        import torch

        return torch.tensor([ids])

    tokenizer.encode = encode
    return tokenizer


_BEGINNINGS: "dict[int, tuple[Any, list[int]]]" = {}


def _kept(tokenizer: Any) -> "list[int]":
    """The beginning of a tokenizer, worked out once."""
    known = _BEGINNINGS.get(id(tokenizer))
    if known is None or known[0] is not tokenizer:
        known = _BEGINNINGS[id(tokenizer)] = (tokenizer, beginning(tokenizer))
    return known[1]
