"""What a published report must not reveal, and what it may."""

import socket

import pytest

from core.report.mask import HOST, SECRET, Mask


@pytest.fixture
def mask(workspace, monkeypatch):
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.setattr(socket, "gethostname", lambda: "node-17.cluster.example")
    return Mask(workspace, environment={"HF_TOKEN": "plain-words-as-token", "LANG": "zh_CN.UTF-8", "API_KEY": "short"})


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("hf_AbCdEfGhIjKlMnOpQrStUv", "hf_Ab", SECRET),
        ("export HF_TOKEN=abcd1234", "abcd1234", f"HF_TOKEN={SECRET}"),
        ("password: hunter22, then", "hunter22", f"password: {SECRET}, then"),
        ("密码：我的密码1234", "我的密码1234", f"密码：{SECRET}"),
        ('{"api_key": "zzzzyyyy"}', "zzzzyyyy", f'"api_key": "{SECRET}"'),
        ("Authorization: Bearer abc.def-ghi123", "abc.def-ghi123", f"Bearer {SECRET}"),
        ("https://me:geheim99@example.org/x", "geheim99", f"https://me:{SECRET}@"),
        ("ms-0a1b2c3d-1111-2222-3333-444455556666", "0a1b2c3d", SECRET),
        ("ghp_0123456789abcdefghij0123", "0123456789", SECRET),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "AAAA", SECRET),
        ("set to plain-words-as-token here", "plain-words", f"set to {SECRET} here"),
        ("ssh -p 33090 root@ssh.intern-ai.org.cn", "intern-ai", f"ssh -p 33090 root@{HOST}"),
        ("ADDR=10.140.0.7 PORT=29500", "10.140", f"ADDR={HOST} PORT=29500"),
        ("on node-17.cluster.example, or node-17", "node-17", f"on {HOST}, or {HOST}"),
        ("/root/share/model and /root", "/root", "~/share/model and ~"),
        ("/home/alice/x '/Users/bob smith'", "alice", "~/x '~"),
    ],
)
def test_masked(mask, text, gone, left):
    found = mask(text)
    assert gone not in found
    assert left in found


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8501",
        "torch 2.5.1",
        "max_tokens = 96",
        "tokenizer = dict(type=x)",
        "token 数：1024",
        "我是小明的小助手",
        "/rooted/path ~/x",
        "special_tokens_map.json",
        "git@",
    ],
)
def test_left_as_it_is(mask, text):
    assert mask(text) == text


def test_places(mask, workspace):
    assert mask(f"xtuner train {workspace.root}/runs/x/config.py") == "xtuner train WORKSPACE/runs/x/config.py"


def test_a_host_that_is_called_like_a_word(workspace, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "demo")
    assert Mask(workspace, environment={})("the demo model") == "the demo model"


def test_off(workspace):
    assert Mask(workspace, on=False)(f"password=abcdef {workspace.root}") == f"password=abcdef {workspace.root}"
