"""Convert an XTuner prompt template to the jinja chat template of a tokenizer: it renders turns as training did.

A system turn is rendered only if given; `{round}` is supported. XTuner has one text between question and answer; if it
can be split into the end of the question and the opening of the answer, `add_generation_prompt` controls the opening;
else it all belongs to the question, as in Llama 2's own template.

On one line and without `-`, so that it renders the same whether or not white space is trimmed. Pure functions of text,
standard library only: which tokens the text becomes is for `published`.
"""

import string
from typing import Any

_FIELDS = {"input": "message['content']", "system": "message['content']", "round": "state.round|string"}
_REFUSED = "This model knows the roles system, user and assistant."


def chat_template(template: "dict[str, Any]", begin: str = "") -> str:
    """Return the chat template of a prompt template, with `begin` before everything else, once.

    `template` has the keys of `PromptTemplate.to_json`. Raises ValueError if it uses a field other than `{system}`,
    `{input}` and `{round}`.
    """
    own_ends = not template["suffix_as_eos"]
    asked, opening = _opening(_parts(template["instruction"], ("input", "round")), template["suffix"], template["sep"])
    told = _parts(template["system"], ("system",))
    end = template["suffix"] + (template["eos"] if own_ends else "") + template["sep"]
    again = template["bos"] if own_ends else ""
    # Turns are counted only if the number is used.
    counts = bool(again) or any(name == "round" for _, name in asked)
    question = "{% set state.round = state.round + 1 %}" if counts else ""
    question += _if("state.round > 1", _said([(again, None)])) + _said(asked)
    return (
        ("{% set state = namespace(round=0) %}" if counts else "")
        + _beginning(begin, told, asked)
        + "{% for message in messages %}{% if message['role'] == 'system' %}"
        + _said(told)
        + "{% elif message['role'] == 'user' %}"
        + question
        + "{% elif message['role'] == 'assistant' %}"
        + _said([(opening, None), ("", "input"), (end, None)])
        + f"{{% else %}}{{{{ raise_exception('{_REFUSED}') }}}}{{% endif %}}{{% endfor %}}"
        + _if("add_generation_prompt", _said([(opening, None)]))
    )


_Parts = "list[tuple[str, str | None]]"


def _parts(text: str, known: "tuple[str, ...]") -> _Parts:
    """Split a format string into literals, each with the name of the field after it."""
    found = []
    for literal, name, form, conversion in string.Formatter().parse(text):
        if name is not None and (name not in known or form or conversion):
            raise ValueError(f"a prompt template has no {{{name}}}: {text!r}")
        found.append((literal, name))
    return found


def _opening(asked: _Parts, suffix: str, sep: str) -> "tuple[_Parts, str]":
    """Split a question from the opening of its answer, which follows the ending shared by questions and answers."""
    tail = asked[-1][0] if len(asked) > 1 and asked[-1][1] is None and asked[-2][1] == "input" else ""
    close = suffix + sep
    if not suffix or not tail.startswith(close) or tail == close:
        return asked, ""
    return [*asked[:-1], (close, None)], tail[len(close) :]


def _beginning(begin: str, told: _Parts, asked: _Parts) -> str:
    """Return `begin`, except before a text that already begins with it."""
    system, question = (bool(parts) and parts[0][0].startswith(begin) for parts in (told, asked))
    said = _said([(begin, None)])
    if system == question:
        return "" if system else said
    return _if(f"messages[0]['role'] {'!=' if system else '=='} 'system'", said)


def _said(parts: _Parts) -> str:
    """Join literals and fields in one expression; empty if there are none."""
    pieces = [piece for text, name in parts for piece in (text and _quoted(text), name and _FIELDS[name]) if piece]
    return f"{{{{ {' + '.join(pieces)} }}}}" if pieces else ""


def _if(condition: str, said: str) -> str:
    return f"{{% if {condition} %}}{said}{{% endif %}}" if said else ""


def _quoted(text: str) -> str:
    """Return a text as a jinja literal."""
    for plain, written in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, written)
    return f"'{text}'"
