"""What a published report must not reveal, and what it may."""

import socket

import pytest

from core.report.mask import HOST, SECRET, Mask, named_secrets


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


# Each service's tokens by their shortest form: what stands before it, and how many characters follow at least.
SHORTEST = [
    ("hf_", 16), ("ghp_", 20), ("gho_", 20), ("ghs_", 20), ("ghu_", 20), ("github_pat_", 20), ("sk-", 16), ("xoxb-", 10),
    ("xoxa-", 10), ("xoxp-", 10), ("ms-0a1b2c3d-", 20),
]  # fmt: skip


@pytest.mark.parametrize(("start", "least"), SHORTEST)
def test_a_token_from_its_shortest_form_on(mask, start, least):
    secret = ("0123456789abcdef" * 2)[:least]
    assert mask(f"by {start}{secret}.") == f"by {SECRET}."
    assert mask(f"by {start}{secret}0.") == f"by {SECRET}."
    word = f"by {start}{secret[1:]}."
    assert mask(word) == word


@pytest.mark.parametrize(("characters", "hidden"), [(15, False), (16, True), (17, False)])
def test_a_key_of_aws_has_one_length(mask, characters, hidden):
    text = f"AKIA{'A1B2C3D4E5F6G7H8I9'[:characters]}"
    assert mask(text) == (SECRET if hidden else text)


@pytest.mark.parametrize(("head", "body", "hidden"), [(10, 10, True), (9, 10, False), (10, 9, False)])
def test_a_web_token_has_three_parts(mask, head, body, hidden):
    text = f"eyJ{'h' * head}.{'b' * body}.s"
    assert mask(text) == (SECRET if hidden else text)


@pytest.mark.parametrize(("characters", "hidden"), [(7, False), (8, True)])
def test_what_a_request_bears(mask, characters, hidden):
    text = f"bearer {'x' * characters}"
    assert mask(text) == (f"bearer {SECRET}" if hidden else text)


@pytest.mark.parametrize(("characters", "hidden"), [(3, False), (4, True)])
def test_what_is_called_a_secret(mask, characters, hidden):
    text = f"secret={'x' * characters}"
    assert mask(text) == (f"secret={SECRET}" if hidden else text)


@pytest.mark.parametrize(("characters", "hidden"), [(7, False), (8, True)])
def test_a_secret_of_the_environment_wherever_it_stands(workspace, characters, hidden):
    """A short one may be a word, and the text would be full of holes."""
    value = "xylophone"[:characters]
    text = Mask(workspace, environment={"MY_ACCESS_KEY": value})(f"a {value} plays")
    assert text == (f"a {SECRET if hidden else value} plays")


def test_a_variable_that_is_no_secret_is_left(workspace):
    assert Mask(workspace, environment={"EDITOR": "emacs-nox"})("with emacs-nox") == "with emacs-nox"


def test_the_secrets_of_the_environment(monkeypatch):
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "abc")
    monkeypatch.setenv("SOME_EDITOR", "abc")
    found = named_secrets()
    assert found["MODELSCOPE_API_TOKEN"] == "abc"
    assert "SOME_EDITOR" not in found


def test_the_longest_place_first(workspace, monkeypatch):
    """A workspace in a home, a secret that begins like another one: nothing of the longer one is left."""
    monkeypatch.setenv("HOME", str(workspace.root.parent))
    known = {"A_TOKEN": "swordfish", "B_TOKEN": "swordfish-and-more"}
    mask = Mask(workspace, environment=known)
    assert mask(f"{workspace.root}/runs {workspace.root.parent}/x") == "WORKSPACE/runs ~/x"
    assert mask("swordfish-and-more swordfish") == f"{SECRET} {SECRET}"


@pytest.mark.parametrize(
    ("name", "hidden"),
    [("gpuhosts", True), ("gpuhost", False), ("gpu1", True), ("gp1", False), ("n-17", True), ("n17", False),
     ("localhost", False)],
)  # fmt: skip
def test_which_names_of_machines_name_one(workspace, monkeypatch, name, hidden):
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    assert Mask(workspace, environment={})(f"on {name}.") == f"on {HOST if hidden else name}."


def test_a_secret_beside_its_name_twice(mask):
    """What a secret is called may be what it is: only the value is hidden."""
    assert mask("password: password1 and token=token99") == f"password: {SECRET} and token={SECRET}"


def test_places(mask, workspace):
    assert mask(f"xtuner train {workspace.root}/runs/x/config.py") == "xtuner train WORKSPACE/runs/x/config.py"


def test_a_host_that_is_called_like_a_word(workspace, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "demo")
    assert Mask(workspace, environment={})("the demo model") == "the demo model"


def test_off(workspace):
    assert Mask(workspace, on=False)(f"password=abcdef {workspace.root}") == f"password=abcdef {workspace.root}"
