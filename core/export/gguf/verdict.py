"""Puts the verification of a GGUF file by llama.cpp into words."""

from typing import Any

from core.ground.figures import share
from core.ground.text import Text


def verdict(found: dict[str, Any]) -> Text:
    """Return one sentence on the result of `verification`, with the next step if it is not good."""
    if not found["same_prompts"]:
        return Text(
            "llama.cpp 把提问读成了与训练时不同的 token，不要使用：用 llama.cpp 的 convert_hf_to_gguf.py 转换合并后的模型",
            "llama.cpp tokenizes the questions differently from the training: do not use this file; convert the merged model with llama.cpp's own convert_hf_to_gguf.py",
        )
    if found["same_chat"] is False:
        return Text(
            "文件里的对话模板在 llama.cpp 里写出的不是训练时的提示词：用 Modelfile 里的模板（Ollama）",
            "the chat_template in the file does not produce the trained prompt in llama.cpp: use the one in the Modelfile (Ollama)",
        )
    if found["same_tokens"]:
        return Text(
            "llama.cpp 的回答与合并后的模型完全一致", "llama.cpp gives exactly the same answers as the merged model"
        )
    zh, en = _nickname(found)
    if not found["exact"]:
        part = share(found["share"])
        lead = Text(
            f"量化的代价：回答与合并后的模型开始不同之前，相同的 token 占 {part}{zh}",
            f"cost of quantization: the answers agree for {part} of the merged model's tokens before they diverge{en}",
        )
        return lead if found["ok"] else Text(f"{lead.zh}。换用 f16", f"{lead.en}. Use f16 instead")
    if found["ok"]:
        return Text(
            f"llama.cpp 与合并后的模型一致；{found['near_ties']} 个回答在两个几乎同样可能的词上分开，属于舍入误差",
            f"llama.cpp agrees with the merged model; {found['near_ties']} answers diverge where two tokens are almost equally likely, which is rounding",
        )
    return Text(
        f"llama.cpp 的回答与合并后的模型不同，不要使用：请重新生成{zh}",
        f"llama.cpp does not answer like the merged model: do not use this file; create it again{en}",
    )


def _nickname(found: dict[str, Any]) -> tuple[str, str]:
    """Return how many answers contain the nickname, if they were counted."""
    counted = found.get("nickname")
    if not counted:
        return "", ""
    merged, gguf, of = (counted[key] for key in ("merged", "gguf", "of"))
    return (
        f"；{of} 个身份问题里答出昵称的：合并后 {merged}，GGUF {gguf}",
        f"; of {of} identity questions, answered with the nickname: merged {merged}, GGUF {gguf}",
    )
