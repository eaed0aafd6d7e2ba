"""The command to copy, what it refuses, and what is known about how a page is reached."""

import shlex

import pytest

from core.ground.errors import BadInput
from core.ground.tunnel import Tunnel, explanation, from_login, login_of_server, reached_by

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)"
LINUX = "Mozilla/5.0 (X11; Linux x86_64)"


def test_the_command():
    tunnel = Tunnel.of("ssh.intern-ai.org.cn", 33090, "root", 8501)
    line = "ssh -CN -L 8501:127.0.0.1:8501 -p 33090 root@ssh.intern-ai.org.cn"
    assert tunnel.command("terminal") == line
    assert tunnel.command("powershell") == line.replace("ssh ", "ssh.exe ", 1)
    assert tunnel.address == "http://127.0.0.1:8501"
    shared = Tunnel.of("h", "22", "me", 8502, shared=True)
    assert shared.command("terminal") == "ssh -CNg -L 8502:127.0.0.1:8502 -p 22 me@h"


@pytest.mark.parametrize(
    ("line", "host", "port", "user"),
    [
        ("ssh -p 33090 root@ssh.intern-ai.org.cn -o StrictHostKeyChecking=no", "ssh.intern-ai.org.cn", 33090, "root"),
        ("ssh root@10.0.0.7", "10.0.0.7", 22, "root"),
        ("ssh -p33090 -l me host.example", "host.example", 33090, "me"),
        ("ssh -CNg -L 8501:127.0.0.1:8501 root@h -p 33090", "h", 33090, "root"),
        ("  host.example ", "host.example", 22, "root"),
        ("::1", "::1", 22, "root"),
        ("[fe80::1]", "fe80::1", 22, "root"),
    ],
)
def test_what_a_provider_shows_can_be_pasted(line, host, port, user):
    tunnel = Tunnel.of(line, 22, "root", 8501)
    assert (tunnel.host, tunnel.port, tunnel.user) == (host, port, user)


@pytest.mark.parametrize(
    ("host", "port", "user", "named"),
    [
        ("", 22, "root", "host"),
        ("-oProxyCommand=touch", 22, "root", "host"),
        ("x; rm -rf ~", 22, "root", "host"),
        ("$(id)", 22, "root", "host"),
        ("主机", 22, "root", "host"),
        ("ssh -p 22", 22, "root", "host"),
        ("ssh 'unclosed", 22, "root", "host"),
        ("ssh -oProxyCommand=x -- -x", 22, "root", "host"),
        ("h", 0, "root", "port"),
        ("h", 65536, "root", "port"),
        ("h", "22; id", "root", "port"),
        ("h", "２２", "root", "port"),
        ("h", "", "root", "port"),
        ("h", 22, "", "user"),
        ("h", 22, "-l", "user"),
        ("h", 22, "a b", "user"),
        ("h", 22, "a'b", "user"),
    ],
)
def test_what_is_refused(host, port, user, named):
    with pytest.raises(BadInput) as refused:
        Tunnel.of(host, port, user, 8501)
    assert f"the {named} " in refused.value.text.en


def test_every_command_is_the_words_that_it_looks_like():
    for host in ("a.b-c", "10.0.0.7", "::1"):
        words = shlex.split(Tunnel.of(host, 22, "u.v_w-x", 8501).command("terminal"))
        assert words == ["ssh", "-CN", "-L", "8501:127.0.0.1:8501", "-p", "22", f"u.v_w-x@{host}"]


def test_no_login_line():
    assert from_login("host.example") is None
    assert from_login("") is None


@pytest.mark.parametrize(
    ("headers", "address", "reached"),
    [
        ({"Host": "127.0.0.1:8501", "User-Agent": WINDOWS}, None, "tunnel"),
        ({"host": "localhost:8501", "user-agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X)"}, "127.0.0.1", "tunnel"),
        ({"Host": "127.0.0.1:8501", "User-Agent": LINUX}, None, "here_or_tunnel"),
        ({"Host": "[::1]:8501", "User-Agent": LINUX}, None, "here_or_tunnel"),
        ({}, None, "here_or_tunnel"),
        ({"Host": "hub.example", "User-Agent": WINDOWS}, None, "proxy"),
        ({"Host": "127.0.0.1:8501", "X-Forwarded-For": "10.0.0.1"}, None, "proxy"),
        ({"Host": "127.0.0.1:8501", "User-Agent": WINDOWS}, "10.0.0.1", "here_or_tunnel"),
    ],
)
def test_how_a_page_is_reached(headers, address, reached):
    assert reached_by(headers, address) == reached
    assert explanation(reached).zh
    assert explanation(reached).en


def test_the_login_that_the_server_was_started_from(monkeypatch):
    monkeypatch.setenv("SSH_CONNECTION", "10.1.2.3 50000 172.17.0.2 22")
    monkeypatch.setenv("USER", "me")
    assert login_of_server() == {"user": "me", "client": "10.1.2.3", "port": "22"}
    monkeypatch.delenv("SSH_CONNECTION")
    assert login_of_server() == {"user": "me"}
