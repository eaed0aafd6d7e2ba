"""What stands behind the last answer of a row: its end, as the prompt template has it, or nothing.

An answer that was cut off is worth learning from as far as it goes, and must not teach that it ends there. Its turn says
so by `need_eos_token` false, which XTuner's `encode_fn` heeds and its `template_map_fn` writes over; here it stays.

A part of the workers, in the engine's interpreter.
"""

from typing import Any

_ORIGINAL: "dict[str, Any]" = {}


def template_map_fn(example: Any, template: Any) -> "dict[str, Any]":
    """In place of XTuner's `template_map_fn`: the same, but a last answer without an end gets none."""
    turns = example.get("conversation") or [{}]
    cut_off = turns[-1].get("need_eos_token") is False
    answer = turns[-1].get("output")
    made = _ORIGINAL["template_map_fn"](example, template)
    if cut_off:
        made["conversation"][-1].update(output=answer, need_eos_token=False, sep="")
    return made


def install(module: "dict[str, Any]") -> Any:
    """Have the module of XTuner's `template_map_fn`, given by its variables, end rows so. Returns the function."""
    if module["template_map_fn"] is not template_map_fn:
        _ORIGINAL["template_map_fn"] = module["template_map_fn"]
        module["template_map_fn"] = template_map_fn
    return template_map_fn
