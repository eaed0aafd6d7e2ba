"""The SSH tunnel from a learner's computer to this machine: its command, and whether it is already in use.

Starts nothing: the command is run on the other computer.
"""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.ground.errors import BadInput
from core.ground.text import Text

Reached = Literal["tunnel", "proxy", "here_or_tunnel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """How to reach the machine by SSH, and the app's port. Created by `of`, which validates each field."""

    host: str
    port: int
    user: str
    app_port: int
    shared: bool = False

    @classmethod
    def of(cls, host: str, port: object, user: str, app_port: int, *, shared: bool = False) -> "Tunnel":
        """Create a tunnel from form input. `host` may also be the complete `ssh` command that a provider shows.

        Raises BadInput that names the field. No value can be an ssh option, or anything but a name.
        """
        pasted = from_login(host)
        if pasted is not None:
            host, port, user = pasted.get("host", ""), pasted.get("port", port), pasted.get("user", user)
        host, user = host.strip(), user.strip()
        if not re.fullmatch(r"\[?[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}\]?", host):
            raise BadInput(
                f"主机 {host[:60]!r} 不可用：填写域名或 IP，例如 ssh.intern-ai.org.cn",
                f"the host {host[:60]!r} is invalid: give a name or an address, such as ssh.intern-ai.org.cn",
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", user):
            raise BadInput(
                f"用户名 {user[:60]!r} 不可用：字母开头，只含字母、数字和 . _ -",
                f"the user {user[:60]!r} is invalid: start with a letter and use only letters, digits and . _ -",
            )
        number = str(port).strip()
        if not re.fullmatch(r"[0-9]{1,5}", number) or not 1 <= int(number) <= 65535:
            raise BadInput(
                f"端口 {number[:20]!r} 不可用：1 到 65535 的整数",
                f"the port {number[:20]!r} is invalid: use a number from 1 to 65535",
            )
        return cls(host=host.strip("[]"), port=int(number), user=user, app_port=app_port, shared=shared)

    def command(self, shell: Literal["terminal", "powershell"]) -> str:
        """Return the command to copy.

        -C compresses, -N opens no shell; -g, which the course adds, admits others on the network. The words are safe in
        either shell; PowerShell gets the program's full name, which no alias hides.
        """
        program = "ssh.exe" if shell == "powershell" else "ssh"
        flags = "-CNg" if self.shared else "-CN"
        forward = f"{self.app_port}:127.0.0.1:{self.app_port}"
        return f"{program} {flags} -L {forward} -p {self.port} {self.user}@{self.host}"

    @property
    def address(self) -> str:
        """The app's address in the browser once the tunnel is open."""
        return f"http://127.0.0.1:{self.app_port}"


def from_login(line: str) -> dict[str, str] | None:
    """Parse host, port and user of an `ssh …` command, as copied from a provider; None for anything else."""
    try:
        words = shlex.split(line.strip())
    except ValueError:
        return None
    if not words or words[0] not in ("ssh", "ssh.exe"):
        return None
    found: dict[str, str] = {}
    # Options of ssh that take a value: man ssh.
    takes, rest = "BbcDEeFIiJLlmOoPpQRSWw", iter(words[1:])
    for word in rest:
        if word.startswith("-") and len(word) > 1:
            letter = next((c for c in word[1:] if c in takes), None)
            if letter is None:
                continue
            value = word[word.index(letter, 1) + 1 :] or next(rest, "")
            if letter == "p":
                found["port"] = value
            elif letter == "l":
                found["user"] = value
        elif "host" not in found:
            user, at, host = word.rpartition("@")
            found |= {"host": host, **({"user": user} if at else {})}
    return found


def reached_by(headers: Mapping[str, str], address: str | None) -> Reached:
    """Return how a page is reached, as far as its request shows. The app listens on 127.0.0.1 only.

    A browser on a system other than Linux is on another computer, so it uses a tunnel. One on Linux may be either. A
    host other than the loopback, or a forwarding header, means a web proxy (JupyterLab, VS Code).
    """
    told = {name.lower(): value for name, value in headers.items()}
    host = told.get("host", "").rpartition(":")[0] or told.get("host", "")
    if told.get("x-forwarded-for") or host.strip("[]") not in ("127.0.0.1", "localhost", "::1", ""):
        return "proxy"
    agent = told.get("user-agent", "")
    elsewhere = any(name in agent for name in ("Windows", "Macintosh", "iPhone", "iPad", "Android", "CrOS"))
    return "tunnel" if elsewhere and address in (None, "127.0.0.1", "::1") else "here_or_tunnel"


def login_of_server() -> dict[str, str]:
    """Return what this process knows of the SSH login it was started from: `user`, and `client` and `port` if any."""
    connection = os.environ.get("SSH_CONNECTION", "").split()
    found = {"user": os.environ.get("USER") or os.environ.get("LOGNAME") or "root"}
    if len(connection) == 4:
        found |= {"client": connection[0], "port": connection[3]}
    return found


def explanation(reached: Reached) -> Text:
    """Return what can be said about how the page is reached, and no more."""
    if reached == "tunnel":
        return Text(
            "隧道已经通了：这个页面正从另一台电脑打开，而程序只监听 127.0.0.1。",
            "The tunnel works: this page is open on another computer, and the app listens only on 127.0.0.1.",
        )
    if reached == "proxy":
        return Text(
            "这个页面经由网页代理（例如 JupyterLab 或 VS Code 的端口转发）打开，不需要再建隧道。",
            "This page comes through a web proxy (such as JupyterLab's or VS Code's port forwarding): no tunnel is needed.",
        )
    return Text(
        "浏览器就在这台机器上，或者隧道已经通了：两者在这里看起来一样，能看到这个页面就不用再做什么。",
        "The browser is on this machine, or the tunnel already works: the app cannot tell which, but since you see this page, there is nothing left to do.",
    )
