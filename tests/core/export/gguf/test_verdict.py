"""The verdict on a GGUF file in words."""

import pytest

from core.export.gguf.verdict import verdict

GOOD = {
    "same_prompts": True, "same_chat": True, "same_tokens": True, "near_ties": 0, "share": 1.0, "exact": True, "ok": True,
    "nickname": {"merged": 3, "gguf": 2, "of": 4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "zh", "en"),
    [
        ({}, "完全一致", "exactly the same answers as the merged model"),
        ({"same_chat": None}, "完全一致", "exactly the same answers as the merged model"),
        ({"same_prompts": False}, "不同的 token，不要使用", "do not use this file"),
        ({"same_chat": False}, "Modelfile", "Modelfile"),
        ({"same_tokens": False, "near_ties": 1}, "1 个回答", "1 answers diverge"),
        ({"same_tokens": False, "ok": False}, "不要使用", "merged 3, GGUF 2"),
        (
            {"same_tokens": False, "exact": False, "share": 0.25},
            "相同的 token 占 25%",
            "25% of the merged model's tokens",
        ),
        ({"same_tokens": False, "exact": False, "ok": False}, "换用 f16", "Use f16 instead"),
    ],
)
def test_words(found, zh, en):
    told = verdict({**GOOD, **found})
    assert zh in told.zh
    assert en in told.en


def test_without_a_nickname_none_is_told():
    told = verdict({**GOOD, "same_tokens": False, "exact": False, "nickname": None})
    assert "nickname" not in told.en
    assert "昵称" not in told.zh
