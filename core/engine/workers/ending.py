"""What follows the last answer of a row: its ending from the prompt template, or nothing.

A truncated answer is worth training on as far as it goes, but must not teach the model to stop there. Its turn has
`need_eos_token` false, which XTuner's `encode_fn` respects but its `template_map_fn` overwrites; this module preserves
it.

Part of the workers, in the engine's interpreter.
"""

from typing import Any

_ORIGINAL: "dict[str, Any]" = {}


def template_map_fn(example: Any, template: Any) -> "dict[str, Any]":
    """Replace XTuner's `template_map_fn`: the same, but a final answer marked as truncated gets no ending."""
    turns = example.get("conversation") or [{}]
    cut_off = turns[-1].get("need_eos_token") is False
    answer = turns[-1].get("output")
    made = _ORIGINAL["template_map_fn"](example, template)
    if cut_off:
        made["conversation"][-1].update(output=answer, need_eos_token=False, sep="")
    return made


def install(module: "dict[str, Any]") -> Any:
    """Patch the module of XTuner's `template_map_fn`, given by its variables. Returns the function."""
    if module["template_map_fn"] is not template_map_fn:
        _ORIGINAL["template_map_fn"] = module["template_map_fn"]
        module["template_map_fn"] = template_map_fn
    return template_map_fn
