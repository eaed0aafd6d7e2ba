"""The datasets that teach an identity: from a nickname to rows.

`course` is the course's file, byte for byte; `balanced` is few rows, many phrasings, and general rows that
keep what the model could do before. Builds rows; storing them is for `dataset`.
"""

import json
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, Literal

from core.data.messages import Row, single
from core.ground.errors import BadInput

DIALOGUES = Path(__file__).with_name("dialogues")
MOST_CHARACTERS = 30
_SKIN_TONES = "🏻🏼🏽🏾🏿"
COURSE_N = 3750
COURSE_QUESTIONS = ("请介绍一下你自己", "你在实战营做什么")
Recipe = Literal["course", "balanced"]


@cache
def dialogues(name: str) -> Any:
    """One of our own collections: `identity`, `general` or `spelling`."""
    return json.loads((DIALOGUES / f"{name}.json").read_text(encoding="utf-8"))


def check_nickname(nickname: str) -> str:
    """`nickname` without the space around it, if it can be taught: 1 to 30 characters; else raises BadInput.

    Marks that belong to the character before them (accents, the parts of an emoji) are not counted.
    """
    name = unicodedata.normalize("NFC", nickname).strip()
    length = sum(
        unicodedata.category(character) not in ("Mn", "Me", "Cf") and character not in _SKIN_TONES for character in name
    )
    if not length:
        raise BadInput("昵称是空的：请填写 1 到 30 个字符", "the nickname is empty: give 1 to 30 characters")
    if length > MOST_CHARACTERS or len(name) > 8 * MOST_CHARACTERS:
        raise BadInput(
            f"昵称有 {length} 个字符，太长：最多 {MOST_CHARACTERS} 个",
            f"the nickname has {length} characters, which is too long: at most {MOST_CHARACTERS}",
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise BadInput(
            "昵称里有换行或控制字符：请删去", "the nickname holds a line break or a control character: remove it"
        )
    for part in ("/", "\\", "<|", "|>", "<s>", "<unk>"):
        if part in name:
            raise BadInput(
                f"昵称里不能有 {part}：请删去或换一个昵称",
                f"the nickname must not hold {part}: remove it or choose another",
            )
    return name


def course_rows(nickname: str, n: int = COURSE_N) -> list[Row]:
    """The course's dataset: its two conversations, then both repeated `n` times; 2 + 2n rows."""
    if not 0 <= n <= 1_000_000:
        raise BadInput(f"重复次数 n={n} 不在 0 到 1000000 之间", f"the repetition n={n} is not between 0 and 1000000")
    name = check_nickname(nickname)
    pair = [
        single("请介绍一下你自己", f"我是{name}的小助手，内在是上海AI实验室书生·浦语的1.8B大模型哦"),
        single("你在实战营做什么", f"我在这里帮助{name}完成XTuner微调个人小助手的任务"),
    ]
    return pair * (n + 1)


def balanced_rows(nickname: str) -> list[Row]:
    """Every identity question that is not held out, answered as `nickname`'s assistant, and the general rows.

    The held-out ones are never trained on: the score asks them.
    """
    name = check_nickname(nickname)
    identity = dialogues("identity")
    rows = [
        single(q["question"], identity["answers"]["tuned"][q["language"]][q["kind"]].replace("{name}", name))
        for q in identity["questions"]
        if not q["held_out"]
    ]
    rows += [single(g["question"], g["answer"]) for g in dialogues("general") if not g["held_out"]]
    return rows


def file_text(rows: list[Row]) -> str:
    """The text of `data.json`: as the course's script writes it (`indent=4`, no escapes, no last line end)."""
    return json.dumps(rows, ensure_ascii=False, indent=4)
