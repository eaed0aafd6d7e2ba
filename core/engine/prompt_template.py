"""The prompt template that a config specifies, in any of the forms that XTuner accepts.

By name (`PROMPT_TEMPLATE.qwen_chat`, or that as a string, as in a dumped config), written out as a dict, or one of
XTuner's with some keys overridden. Executes nothing; where in a config to look is for `core.config.settings.method`.
"""

import re
from dataclasses import replace

from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import TEMPLATE_KEYS, PromptTemplate, prompt_templates

_NAMED = re.compile(r"(?:[\w.]+\.)?PROMPT_TEMPLATE(?:\.(\w+)|\[\s*['\"](\w+)['\"]\s*\])")


def template_at(config: ConfigFile, place: str) -> PromptTemplate | None:
    """Return the template at `place`; None if there is none, or only running the file would tell."""
    keys = {key: value for key in TEMPLATE_KEYS if (value := config.get(f"{place}.{key}")) is not MISSING}
    words = keys.get("STOP_WORDS", [])
    texts = [value for key, value in keys.items() if key not in ("STOP_WORDS", "SUFFIX_AS_EOS")]
    if not isinstance(words, list | tuple) or not all(isinstance(text, str) for text in [*texts, *words]):
        return None
    if not isinstance(keys.get("SUFFIX_AS_EOS", False), bool):
        return None
    named = prompt_templates().get(name_at(config, place) or "")
    if named is None:
        # XTuner requires this key.
        return PromptTemplate.of(None, keys) if "INSTRUCTION" in keys else None
    if not keys:
        return named
    own = PromptTemplate.of(None, keys)
    return replace(named, name=None, **{key.lower(): getattr(own, key.lower()) for key in keys})


def name_at(config: ConfigFile, place: str) -> str | None:
    """Return the name of XTuner's template at `place`; None if it is not given by name."""
    value = config.get(place)
    found = _NAMED.fullmatch(value.code if isinstance(value, Source) else value if isinstance(value, str) else "")
    return found and (found[1] or found[2])
