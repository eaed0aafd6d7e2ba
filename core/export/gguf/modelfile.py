"""What lies beside a GGUF file: Ollama's Modelfile with the trained prompt, and a README with what is typed at home. Text.

Ollama has its own language for templates, and does not run the chat template in the file: the training's template is
written in it, turn by turn. Texts stand in it as Go strings, so that nothing of them is trimmed or taken for code.
"""

import json
import re
import string
from collections.abc import Sequence

from core.engine.presets import PromptTemplate

_FIELDS = {"input": "{{ .Content }}", "system": "{{ .Content }}", "round": '{{ "1" }}'}


def go_template(template: PromptTemplate) -> str:
    """The template of a training as Ollama writes one: system turns, questions and answers in order.

    Ollama cannot count: where a template numbers its rounds, each is the first.
    """
    end = template.suffix + ("" if template.suffix_as_eos else template.eos) + template.sep
    again = "" if template.suffix_as_eos else template.bos
    return (
        "{{ range .Messages }}"
        + f'{{{{ if eq .Role "system" }}}}{_filled(template.system)}'
        + f'{{{{ else if eq .Role "user" }}}}{_filled(template.instruction)}'
        + f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}{_said(end + again)}'
        + "{{ end }}{{ end }}"
    )


def modelfile(file: str, template: PromptTemplate | None, ends: Sequence[str]) -> str:
    """Ollama's Modelfile for `file`, which lies beside it; `ends` are the texts of the tokens that end an answer.

    Without a template, where plain texts were trained, what is typed is gone on with.
    """
    lines = [f"FROM ./{file}"]
    lines.append(f'TEMPLATE """{go_template(template) if template else "{{ .Prompt }}"}"""')
    words = dict.fromkeys([*(template.stop_words if template else ()), *ends])
    # Ollama has no way to write a quote between quotes; a line's end stands between three.
    lines += [f"PARAMETER stop {_quoted(word)}" for word in words if '"' not in word]
    # Answers as the chat and the scores have them: the likeliest word each time.
    lines.append("PARAMETER temperature 0")
    return "\n".join(lines) + "\n"


def name_of(nickname: str | None, run: str) -> str:
    """What the model is called in Ollama, which takes small Latin letters."""
    plain = re.sub(r"[^a-z0-9]+", "-", (nickname or "").lower()).strip("-")
    return f"{plain}-assistant" if plain else re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")


def first_question(questions: Sequence[str]) -> str:
    """What to ask it at home: the first of a run's questions that may stand between double quotes in any shell."""
    return next((one for one in questions if not set(one) & set('"$`\\!%\r\n')), "你是谁？")


def ollama_lines(name: str, kind: str, question: str) -> list[str]:
    """The commands to type in the directory, once Ollama is installed; of the exact file also the quantising one."""
    lines = [f"ollama create {name} -f Modelfile", f'ollama run {name} "{question}"', f"ollama run {name}"]
    if kind == "f16":
        lines.append(f"ollama create {name}-q4 --quantize q4_K_M -f Modelfile")
    return lines


def other_lines(file: str, question: str) -> list[str]:
    """The same with LM Studio and with llama.cpp, which read the chat template in the file."""
    return [f"lms import {file}", f'llama-cli -m {file} -cnv --temp 0 -p "{question}"']


def readme(title: str, file: str, name: str, kind: str, question: str) -> str:
    """The README.md in both languages."""
    studio, cpp = other_lines(file, question)
    return "\n".join(
        [
            f"# {title}",
            "",
            "用 Ollama（https://ollama.com），在这个目录里： · With Ollama, in this directory:",
            "",
            "```bash",
            *ollama_lines(name, kind, question),
            "```",
            "",
            "用 LM Studio，导入后在对话页选它： · With LM Studio, then choose it in its chat:",
            "",
            "```bash",
            studio,
            "```",
            "",
            "用 llama.cpp： · With llama.cpp:",
            "",
            "```bash",
            cpp,
            "```",
            "",
            "训练时的对话模板和停止词都写在文件里。 · The chat template of the training and its stops are in the file.",
            "",
        ]
    )


def _filled(text: str) -> str:
    """A format string of the training's."""
    return "".join(
        _said(literal) + _FIELDS.get(name or "", "") for literal, name, _, _ in string.Formatter().parse(text)
    )


def _quoted(word: str) -> str:
    return f'"""{word}"""' if "\n" in word else f'"{word}"'


def _said(text: str) -> str:
    """A text as Go writes one; nothing for none. No three quotes in a row, with which a Modelfile would end it."""
    quoted = json.dumps(text, ensure_ascii=False).replace('\\"', "\\u0022")
    return f"{{{{ {quoted} }}}}" if text else ""
