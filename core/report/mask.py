"""Masks text that reveals the machine or grants access: paths, host names, tokens, passwords.

Does not look into images that a user adds.
"""

import os
import re
import socket
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from core.ground.workspace import PROJECT, Workspace

SECRET = "******"
HOST = "HOST"
_SECRET_NAME = r"(?:api[-_ ]?key|access[-_ ]?key|secret|token|passwd|password|密码|口令|令牌)"
_SECRETS = (
    # Tokens, recognized by the form that each service uses.
    re.compile(
        r"\b(?:hf_[A-Za-z0-9]{16,}|gh[opsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|sk-[\w-]{16,}|xox[bap]-[\w-]{10,})"
    ),
    re.compile(r"\bms-[0-9a-f]{8}-[0-9a-f-]{20,}|\bAKIA[0-9A-Z]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S),
    # Values labeled as secrets: HF_TOKEN=…, "password": "…", Bearer …; a number is a length or a count.
    re.compile(r"(?i)(?<=bearer )[\w.~+/-]{8,}=*"),
    re.compile(
        rf"(?i)(?<![a-z]){_SECRET_NAME}[\"']?\s*[=:：]\s*[\"']?(?!\d+(?:\D|$))(?!{re.escape(SECRET)})([^\s\"',;，。]{{4,}})"
    ),
    re.compile(r"(?<=://)[^/\s:@]+:([^/\s@]+)(?=@)"),
)
_ADDRESS = re.compile(
    r"(?<![\w.-])(?<!==)(?!127\.|0\.0\.0\.0)(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.-])"
)
_LOGIN = re.compile(
    r"(?<=[\w.-]@)(?!127\.|HOST\b|localhost)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*"
)
_HOMES = re.compile(r"(?<![\w.~])(?:/home/[^/\s\"'`<>|:]+|/Users/[^/\s\"'`<>|:]+|/root)(?![\w-])")
_SECRET_VARIABLE = re.compile(r"(?i)(token|secret|passw|api_?key|access_?key)")


def named_secrets() -> dict[str, str]:
    """Return the environment's secrets, so that the job that writes a report recognizes them in a text."""
    return {name: value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name)}


class Mask:
    """Masks texts for one workspace on this machine; with `on=False` texts are returned unchanged.

    `then`: where the workspace was when the texts were written, if it was moved since.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        on: bool = True,
        environment: Mapping[str, str] | None = None,
        then: Path | None = None,
    ) -> None:
        self._workspace = workspace
        self._then = then or workspace.root
        self._on = on
        self._environment = os.environ if environment is None else environment

    def __call__(self, text: str) -> str:
        """Return `text` without this machine's paths, host names, addresses and secrets."""
        if not self._on:
            return text
        for words, instead in self._literals:
            text = words.sub(instead, text)
        for pattern in _SECRETS:
            text = pattern.sub(_hidden, text)
        text = _ADDRESS.sub(HOST, _LOGIN.sub(HOST, text))
        for name in self._host_names:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", HOST, text)
        return _HOMES.sub("~", text)

    @cached_property
    def _literals(self) -> list[tuple[re.Pattern[str], str]]:
        """Fixed strings to replace, longest first: a workspace may be within a home directory."""
        root = self._workspace.root
        places = [(path, "WORKSPACE") for path in (root, root.resolve(), self._then)]
        places += [(PROJECT, "XTUNER_STUDIO"), (Path.home(), "~")]
        found = {str(path): (rf"{re.escape(str(path))}(?![\w-])", to) for path, to in places if path != Path("/")}
        for name, value in self._environment.items():
            if _SECRET_VARIABLE.search(name) and len(value) >= 8:
                found[value] = (re.escape(value), SECRET)
        return [(re.compile(pattern), to) for _, (pattern, to) in sorted(found.items(), key=lambda f: -len(f[0]))]

    @cached_property
    def _host_names(self) -> list[str]:
        """This machine's names, except for one that is also a word: a machine named `demo` identifies nobody."""
        name = socket.gethostname()
        names = {name, name.partition(".")[0]}
        told = [name for name in names if len(name) >= 8 or (len(name) >= 4 and re.search(r"[\d.-]", name))]
        return sorted((name for name in told if name != "localhost"), key=len, reverse=True)


def _hidden(match: re.Match[str]) -> str:
    """Replace the secret itself, but not its label."""
    if match.lastindex is None:
        return SECRET
    start, end = (at - match.start() for at in match.span(1))
    return match[0][:start] + SECRET + match[0][end:]
