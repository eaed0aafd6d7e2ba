"""The tokens that begin a row: the same in training, evaluation, chat, scores and verification.

XTuner puts the tokenizer's BOS before every row, whatever the model was fine-tuned with; a tokenizer may or may not add
it; a chat template may or may not write it, and for some models BOS is the template's first mark (`<|im_start|>`),
which then appeared twice. This module decides it once: what the tokenizer adds, else BOS if the model's chat template
has it, else nothing (BOS without a chat template, as XTuner does); and never twice.

Part of the workers, in the engine's interpreter. Renders no template.
"""

import functools
import sys
from typing import Any

_ORIGINAL: "dict[str, Any]" = {}


def beginning(tokenizer: Any) -> "list[int]":
    """Return the tokens that a row begins with."""
    added = list(tokenizer("").input_ids)
    # Some tokenizers append EOS too.
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
    """Return the tokens of a text, preceded once by the beginning."""
    before = _kept(tokenizer)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    return ids if ids[: len(before)] == before else before + ids


def ends(tokenizer: Any) -> "tuple[list[int], list[int]]":
    """Replace XTuner's `get_bos_eos_token_ids`, which fails for a tokenizer without BOS."""
    eos = tokenizer.eos_token_id
    return list(_kept(tokenizer)), [] if eos is None else [eos] if isinstance(eos, int) else list(eos)


def encode_fn(example: Any, tokenizer: Any, max_length: int, *arguments: Any, **options: Any) -> "dict[str, Any]":
    """Replace XTuner's `encode_fn`: the same, but a beginning that the template itself writes is not repeated."""
    before = _kept(tokenizer)
    made = _ORIGINAL["encode_fn"](example, tokenizer, max_length + len(before), *arguments, **options)
    size = len(before)
    twice = size and made["input_ids"][:size] == before == made["input_ids"][size : 2 * size]
    return {key: value[size if twice else 0 :][:max_length] for key, value in made.items()}


def install(utils: Any) -> Any:
    """Patch XTuner's `dataset.utils`, and every module that imported its functions. Returns the module."""
    original = utils.encode_fn
    if original is not encode_fn:
        _ORIGINAL["encode_fn"] = original
        for module in list(sys.modules.values()):
            if getattr(module, "__name__", "").startswith("xtuner.") and getattr(module, "encode_fn", None) is original:
                module.encode_fn = encode_fn
        utils.encode_fn, utils.get_bos_eos_token_ids = encode_fn, ends
    return utils


def begin_texts(tokenizer: Any) -> Any:
    """Make a tokenizer's `encode` add the beginning; calls with `add_special_tokens=False` are unaffected."""
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
    """Return the beginning of a tokenizer, computed once."""
    known = _BEGINNINGS.get(id(tokenizer))
    if known is None or known[0] is not tokenizer:
        known = _BEGINNINGS[id(tokenizer)] = (tokenizer, beginning(tokenizer))
    return known[1]
