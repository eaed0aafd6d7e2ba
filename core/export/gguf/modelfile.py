"""The texts next to a GGUF file: Ollama's Modelfile with the trained prompt, and a README with the commands to type.

Ollama has its own template language and does not run the chat template in the file, so the training's template is
translated turn by turn. Texts are Go strings, so that nothing is trimmed or interpreted as code.
"""

import json
import re
import string
from collections.abc import Sequence

from core.engine.presets import PromptTemplate

_FIELDS = {"input": "{{ .Content }}", "system": "{{ .Content }}", "round": '{{ "1" }}'}


def go_template(template: PromptTemplate) -> str:
    """Return a training's template in Ollama's language: system turns, questions and answers in order.

    Ollama cannot count: if a template numbers its turns, each is number one.
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
    """Return Ollama's Modelfile for `file` next to it; `ends` are the texts of the tokens that end an answer.

    Without a template (a run on plain texts) the model continues what is typed.
    """
    lines = [f"FROM ./{file}"]
    lines.append(f'TEMPLATE """{go_template(template) if template else "{{ .Prompt }}"}"""')
    words = dict.fromkeys([*(template.stop_words if template else ()), *ends])
    # Ollama cannot escape a quote within quotes; a newline needs triple quotes.
    lines += [f"PARAMETER stop {_quoted(word)}" for word in words if '"' not in word]
    # Greedy answers, as in the chat and the scores.
    lines.append("PARAMETER temperature 0")
    return "\n".join(lines) + "\n"


def name_of(nickname: str | None, run: str) -> str:
    """Return the model's name in Ollama, which allows lowercase Latin letters."""
    plain = re.sub(r"[^a-z0-9]+", "-", (nickname or "").lower()).strip("-")
    return f"{plain}-assistant" if plain else re.sub(r"[^a-z0-9]+", "-", run.lower()).strip("-")


def first_question(questions: Sequence[str]) -> str:
    """Return a question to try: the run's first one that is safe within double quotes in any shell."""
    return next((one for one in questions if not set(one) & set('"$`\\!%\r\n')), "你是谁？")


def ollama_lines(name: str, kind: str, question: str) -> list[str]:
    """Return the commands for Ollama; for the f16 file also the one that quantizes it."""
    lines = [f"ollama create {name} -f Modelfile", f'ollama run {name} "{question}"', f"ollama run {name}"]
    if kind == "f16":
        lines.append(f"ollama create {name}-q4 --quantize q4_K_M -f Modelfile")
    return lines


def other_lines(file: str, question: str) -> list[str]:
    """Return the commands for LM Studio and llama.cpp, which read the chat template in the file."""
    return [f"lms import {file}", f'llama-cli -m {file} -cnv --temp 0 -p "{question}"']


def readme(title: str, file: str, name: str, kind: str, question: str) -> str:
    """Return the README.md in both languages."""
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
    """Translate a format string of the training's template."""
    return "".join(
        _said(literal) + _FIELDS.get(name or "", "") for literal, name, _, _ in string.Formatter().parse(text)
    )


def _quoted(word: str) -> str:
    return f'"""{word}"""' if "\n" in word else f'"{word}"'


def _said(text: str) -> str:
    """Return a text as a Go string, empty for an empty text.

    It never has three quotes in a row, which would end a Modelfile string.
    """
    quoted = json.dumps(text, ensure_ascii=False).replace('\\"', "\\u0022")
    return f"{{{{ {quoted} }}}}" if text else ""
