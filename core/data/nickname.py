"""Checks and normalizes the nickname."""

import unicodedata

from core.ground.errors import BadInput

MOST_CHARACTERS = 30
_SKIN_TONES = "🏻🏼🏽🏾🏿"


def check_nickname(nickname: str) -> str:
    """Return `nickname` stripped and in NFC if it is valid (1 to 30 characters), else raise BadInput.

    Combining marks (accents, parts of an emoji) are not counted.
    """
    name = unicodedata.normalize("NFC", nickname).strip()
    length = sum(
        unicodedata.category(character) not in ("Mn", "Me", "Cf") and character not in _SKIN_TONES for character in name
    )
    if not length:
        raise BadInput("昵称是空的：请填写 1 到 30 个字符", "the nickname is empty: enter 1 to 30 characters")
    if length > MOST_CHARACTERS or len(name) > 8 * MOST_CHARACTERS:
        raise BadInput(
            f"昵称有 {length} 个字符，太长：最多 {MOST_CHARACTERS} 个",
            f"the nickname has {length} characters; the limit is {MOST_CHARACTERS}",
        )
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise BadInput(
            "昵称里有换行或控制字符：请删去", "the nickname contains a line break or control character: remove it"
        )
    for part in ("/", "\\", "<|", "|>", "<s>", "<unk>"):
        if part in name:
            raise BadInput(
                f"昵称里不能有 {part}：请删去或换一个昵称",
                f"the nickname must not contain {part}: remove it or choose another",
            )
    return name
