"""How a model is spoken to, published with it: a tokenizer whose chat template makes the trained prompt, and where it stops.

A part of the export worker. `plan["prompt"]` holds the `template` of the training and `exchanges`, each its `messages`
and the `text` that the training made of them; None where plain texts were trained, which need no prompt. Proved here
in the way in which others use the model: `apply_chat_template`, then `generate`.
"""

import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.engine.workers.beginning import beginning, begun
from core.engine.workers.chat_jinja import chat_template
from core.ground.files import read_json, write_json

# What a tokenizer is loaded from.
_TOKENIZER = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.tiktoken",
    "tokenization_*.py",
)  # fmt: skip
# Where else a chat template may stand, which newer versions of transformers read first.
_ELSEWHERE = ("chat_template.jinja", "chat_template.json")
# The chat answers greedily, as does the verification: what would make `generate` draw or weigh is left out.
_DRAWN = (
    "temperature", "top_p", "top_k", "min_p", "typical_p", "repetition_penalty", "no_repeat_ngram_size", "num_beams",
    "penalty_alpha", "diversity_penalty", "length_penalty", "_from_model_config",
)  # fmt: skip


def give_tokenizer(plan: "dict[str, Any]", directory: Path) -> None:
    """Put the base's tokenizer into the directory of an adapter: its prompt is not the base's any more."""
    if not plan.get("prompt"):
        return
    for pattern in _TOKENIZER:
        for file in Path(plan["base"]).glob(pattern):
            if file.is_file():
                shutil.copyfile(file, directory / file.name)
    _give_template(plan, directory)


def give_prompt(plan: "dict[str, Any]", directory: Path) -> None:
    """Have the model in `directory`, which has the base's files, take the trained prompt and stop where the chat does."""
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
    """The tokens that end an answer in the chat: the tokenizer's own, and each stop word that is one token."""
    found = [tokenizer.eos_token_id, *map(tokenizer.convert_tokens_to_ids, words)]
    return [token for token in dict.fromkeys(found) if token is not None and token != tokenizer.unk_token_id]


def carried(plan: "dict[str, Any]", directory: Path) -> bool:
    """Whether a directory carries the chat template of the training, where there is one."""
    said = (read_json(directory / "tokenizer_config.json") or {}).get("chat_template")
    return not plan.get("prompt") or said == _template(plan)


def proved(
    plan: "dict[str, Any]", directory: Path, model: Any, most: int, same: "Callable[[int, list[int]], bool]"
) -> "tuple[dict[str, bool] | None, list[dict[str, Any]]]":
    """Whether the `model` of `directory`, asked as anybody asks it, reads what was trained and says what the chat says.

    `same` tells of an answer's tokens whether the chat gives them to the prompt of a number. Returns `rendered_equal` and
    `answers_equal`, and the causes of what is not.
    """
    from transformers import AutoTokenizer

    if not plan.get("prompt"):
        return None, []
    exchanges = plan["prompt"]["exchanges"]
    own = AutoTokenizer.from_pretrained(directory, trust_remote_code=True)
    misread = next((found for one in exchanges if (found := _misread(plan, own, one))), None)
    if misread:
        return {"rendered_equal": False, "answers_equal": False}, [{"kind": "prompt", **misread}]
    # One of who it is, one of something else.
    for number in sorted({0, len(plan["prompts"]) - 1}):
        said = _answered(model, own, exchanges[number]["messages"], most)
        if not same(number, said):
            asked, told = exchanges[number]["messages"][-1]["content"], own.decode(said)
            return {"rendered_equal": True, "answers_equal": False}, [{"kind": "answers", "asked": asked, "said": told}]
    return {"rendered_equal": True, "answers_equal": True}, []


def _misread(plan: "dict[str, Any]", own: Any, exchange: "dict[str, Any]") -> "dict[str, str] | None":
    """What the training made of an exchange and what a tokenizer does, where these are not the same tokens."""
    trained = _tokenizer(plan["base"])
    wanted = begun(trained, exchange["text"])
    try:
        found = own.apply_chat_template(exchange["messages"], add_generation_prompt=True)
    except Exception as error:  # noqa: BLE001
        # A template may fail in any way that Python can.
        return {"trained": trained.decode(wanted), "published": str(error)[:300]}
    return None if found == wanted else {"trained": trained.decode(wanted), "published": own.decode(found)}


def _answered(model: Any, tokenizer: Any, messages: "list[dict[str, str]]", most: int) -> "list[int]":
    """What anybody gets who loads the model and asks it, by transformers' own means."""
    asked = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt").to(model.device)
    out = model.generate(input_ids=asked, attention_mask=asked.new_ones(asked.shape), max_new_tokens=most)
    return out[0, asked.shape[1] :].tolist()


def _give_template(plan: "dict[str, Any]", directory: Path) -> None:
    settings = read_json(directory / "tokenizer_config.json") or {}
    # Without it, transformers would look into a config.json, which an adapter has not.
    settings.setdefault("tokenizer_class", type(_tokenizer(plan["base"])).__name__)
    write_json(directory / "tokenizer_config.json", {**settings, "chat_template": _template(plan)})
    for name in _ELSEWHERE:
        (directory / name).unlink(missing_ok=True)


def _template(plan: "dict[str, Any]") -> str:
    """The chat template of the training, for the tokenizer of the base.

    A tokenizer of SentencePiece's kind puts a space before a text, but none behind a special token: there it is written.
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
    """The tokenizer of the training, loaded once for all steps."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, trust_remote_code=True)
