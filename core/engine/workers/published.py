"""The prompt format published with a model: a chat template that makes the trained prompt, and the stop tokens.

Part of the export worker. `plan["prompt"]` holds the `template` used in training and `exchanges`, each with its
`messages` and the `text` that training made of them; None if plain texts were trained, which need no prompt. It is
tested here in the way others use the model: `apply_chat_template`, then `generate`.
"""

import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.engine.workers import tokenizer_file
from core.engine.workers.beginning import beginning, begun
from core.engine.workers.chat_jinja import chat_template
from core.engine.workers.unneeded import shut_out
from core.ground.files import read_json, write_json

# The files a tokenizer is loaded from.
_TOKENIZER = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.tiktoken",
    "tokenization_*.py",
)  # fmt: skip
# Other places for a chat template, which newer versions of transformers read first.
_ELSEWHERE = ("chat_template.jinja", "chat_template.json")
# The chat and the verification answer greedily: settings that make `generate` sample or reweight are dropped.
_DRAWN = (
    "temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size", "num_beams",
    "penalty_alpha", "diversity_penalty", "length_penalty", "_from_model_config",
)  # fmt: skip


def give_tokenizer(plan: "dict[str, Any]", directory: Path) -> None:
    """Copy the base model's tokenizer into an adapter's directory: its prompt differs from the base model's."""
    if not plan.get("prompt"):
        return
    for pattern in _TOKENIZER:
        for file in Path(plan["base"]).glob(pattern):
            if file.is_file():
                shutil.copyfile(file, directory / file.name)
    _give_template(plan, directory)


def give_prompt(plan: "dict[str, Any]", directory: Path) -> None:
    """Make the model in `directory` use the trained prompt and stop where the chat does.

    The directory already has the base model's other files.
    """
    if not plan.get("prompt"):
        return
    _give_template(plan, directory)
    tokenizer = _tokenizer(plan["base"])
    stops = ends(tokenizer, plan["stop_words"])
    said = read_json(directory / "generation_config.json")
    kept = {key: value for key, value in (said if isinstance(said, dict) else {}).items() if key not in _DRAWN}
    if kept.get("pad_token_id") is None:
        kept["pad_token_id"] = stops[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    write_json(directory / "generation_config.json", {**kept, "eos_token_id": stops, "do_sample": False})


def ends(tokenizer: Any, words: "list[str]") -> "list[int]":
    """Return the tokens that end an answer in the chat: the tokenizer's own, and each single-token stop word."""
    found = [tokenizer.eos_token_id, *map(tokenizer.convert_tokens_to_ids, words)]
    return [token for token in dict.fromkeys(found) if token is not None and token != tokenizer.unk_token_id]


def carried(plan: "dict[str, Any]", directory: Path) -> bool:
    """Return whether a directory has the chat template used in training, if there is one."""
    said = (read_json(directory / "tokenizer_config.json") or {}).get("chat_template")
    return not plan.get("prompt") or said == _template(plan)


def proved(
    plan: "dict[str, Any]", directory: Path, model: Any, most: int, same: "Callable[[int, list[int]], bool]"
) -> "tuple[dict[str, bool] | None, list[dict[str, Any]]]":
    """Return whether the `model` of `directory`, used through transformers, answers as the chat does.

    `same` tells for a prompt's number whether the chat gives these answer tokens. Returns `rendered_equal` (the prompts
    have the same tokens) and `answers_equal`, and the causes of differences.
    """
    from transformers import AutoTokenizer

    if not plan.get("prompt"):
        return None, []
    exchanges = plan["prompt"]["exchanges"]
    own = AutoTokenizer.from_pretrained(directory, trust_remote_code=True)
    misread = next((found for one in exchanges if (found := _misread(plan, own, one))), None)
    if misread:
        return {"rendered_equal": False, "answers_equal": False}, [{"kind": "prompt", **misread}]
    # One about its identity, one about something else.
    for number in sorted({0, len(plan["prompts"]) - 1}):
        said = _answered(model, own, exchanges[number]["messages"], most)
        if not same(number, said):
            asked, told = exchanges[number]["messages"][-1]["content"], own.decode(said)
            return {"rendered_equal": True, "answers_equal": False}, [{"kind": "answers", "asked": asked, "said": told}]
    return {"rendered_equal": True, "answers_equal": True}, []


def _misread(plan: "dict[str, Any]", own: Any, exchange: "dict[str, Any]") -> "dict[str, str] | None":
    """Return the trained and the rendered prompt of an exchange if their tokens differ."""
    trained = _tokenizer(plan["base"])
    wanted = begun(trained, exchange["text"])
    try:
        found = own.apply_chat_template(exchange["messages"], add_generation_prompt=True)
    except Exception as error:  # noqa: BLE001
        # A template may raise any exception.
        return {"trained": trained.decode(wanted), "published": str(error)[:300]}
    return None if found == wanted else {"trained": trained.decode(wanted), "published": own.decode(found)}


def _answered(model: Any, tokenizer: Any, messages: "list[dict[str, str]]", most: int) -> "list[int]":
    """Return the answer that transformers' own API gives."""
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt").to(model.device)
    out = model.generate(input_ids=asked, attention_mask=asked.new_ones(asked.shape), max_new_tokens=most)
    return out[0, asked.shape[1] :].tolist()


def _give_template(plan: "dict[str, Any]", directory: Path) -> None:
    settings = read_json(directory / "tokenizer_config.json") or {}
    # Without it, transformers would look for a config.json, which an adapter lacks.
    tokenizer = _tokenizer(plan["base"])
    settings.setdefault("tokenizer_class", getattr(tokenizer, "kind", type(tokenizer).__name__))
    write_json(directory / "tokenizer_config.json", {**settings, "chat_template": _template(plan)})
    for name in _ELSEWHERE:
        (directory / name).unlink(missing_ok=True)


def _template(plan: "dict[str, Any]") -> str:
    """Return the chat template used in training, for the base model's tokenizer.

    SentencePiece tokenizers put a space before a text, but not after a special token: there it is written explicitly.
    """
    tokenizer, prompt = _tokenizer(plan["base"]), plan["prompt"]
    begin = "".join(tokenizer.convert_ids_to_tokens(beginning(tokenizer)))
    found = [chat_template(prompt["template"], text) for text in dict.fromkeys((begin, begin and f"{begin} "))]
    return next((text for text in found if _makes(tokenizer, text, prompt["exchanges"])), found[0])


def _makes(tokenizer: Any, text: str, exchanges: "list[dict[str, Any]]") -> bool:
    return all(
        tokenizer.apply_chat_template(one["messages"], chat_template=text, add_generation_prompt=True)
        == begun(tokenizer, one["text"])
        for one in exchanges
    )


@lru_cache(maxsize=1)
def _tokenizer(base: str) -> Any:
    """Return the tokenizer used in training, loaded once for all steps: its file's where transformers is shut out."""
    if shut_out("transformers"):
        found = tokenizer_file.read(Path(base))
        if found is not None:
            return found
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, trust_remote_code=True)
