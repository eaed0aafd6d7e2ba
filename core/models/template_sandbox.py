"""Renders an untrusted chat template as transformers 4.48 would, in a short-lived process with limits.

A template that loops forever or grows without bound ends only this process. Started by `chat_template`, imported by
nobody. Reads `{template, special, exchanges: [{messages, generation}]}` from stdin and writes `{text}` or `{error}` for
each exchange to stdout.
"""

import json
import resource
import sys
from typing import Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

CPU_SECONDS = 3
MEMORY_BYTES = 512 << 20
MOST_CHARACTERS = 100_000
# Replaces today's date, so that a template's use of it is noticed.
TODAY = "Today7Qd"


class Generation(Extension):
    """`{% generation %}`, with which transformers marks answers; its content is rendered unchanged."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        """Parse the block as a scope."""
        line = next(parser.stream).lineno
        return jinja2.nodes.Scope(parser.parse_statements(["name:endgeneration"], drop_needle=True), lineno=line)


def refuse(message: str) -> None:
    """Templates call this as `raise_exception`."""
    raise jinja2.TemplateError(message)


def as_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """The filter `tojson` without jinja's HTML escaping."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def compiled(text: str) -> jinja2.Template:
    """Compile a template in the same environment as transformers."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = as_json
    environment.globals.update(raise_exception=refuse, strftime_now=lambda _format: TODAY)
    return environment.from_string(text)


def rendered(template: jinja2.Template, exchange: "dict[str, Any]", special: "dict[str, Any]") -> "dict[str, str]":
    """Return the text of an exchange, or the error."""
    text = ""
    try:
        for part in template.generate(
            messages=exchange["messages"],
            tools=None,
            documents=None,
            add_generation_prompt=exchange["generation"],
            **special,
        ):
            text += part
            if len(text) > MOST_CHARACTERS:
                return {"error": f"longer than {MOST_CHARACTERS} characters"}
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001
        # A template may fail in any way that Python can.
        return {"error": (str(error) or type(error).__name__)[:300]}
    return {"text": text}


def main() -> None:
    """Render the request on stdin within the limits."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = json.load(sys.stdin)
    try:
        template = compiled(asked["template"])
    except Exception as error:  # noqa: BLE001
        result = [{"error": (str(error) or type(error).__name__)[:300]}] * len(asked["exchanges"])
    else:
        result = [rendered(template, exchange, asked["special"]) for exchange in asked["exchanges"]]
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
