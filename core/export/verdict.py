"""Puts the comparison of the merged model with base + adapter into words: usable, or why not and what to do."""

from typing import Any

from core.ground.text import Text

# Failures of the prompt, not of the model.
_OF_THE_PROMPT = {"prompt", "answers", "adapter_prompt"}


def verdict(found: dict[str, Any]) -> Text:
    """Return one sentence on the result of `verify`."""
    if found["ok"]:
        if found["same_tokens"]:
            return Text(
                "合并后的模型与“基座 + 适配器”的回答完全一致",
                "the merged model gives exactly the same answers as base + adapter",
            )
        return Text(
            f"合并后的模型与“基座 + 适配器”一致；{found['near_ties']} 个回答在两个几乎同样可能的词上分开，属于舍入误差",
            f"the merged model agrees with base + adapter; {found['near_ties']} answers diverge where two tokens are almost equally likely, which is rounding",
        )
    if {cause["kind"] for cause in found["causes"]} <= _OF_THE_PROMPT:
        return Text(
            "合并后的权重没有问题，但随模型发布的对话模板不是训练时用的：别人用它提问，得不到聊天页里的回答",
            "the merged weights are correct, but the chat_template published with them is not the trained one: its users will not get the answers seen in chat",
        )
    return Text(
        "合并后的模型与“基座 + 适配器”不一致，不要使用",
        "the merged model is not base + adapter: do not use it",
    )


def causes(found: dict[str, Any]) -> list[Text]:
    """Return the causes of a failed verification, each with the next step; empty if it passed."""
    return [_cause(cause) for cause in found.get("causes", [])]


def _cause(cause: dict[str, Any]) -> Text:
    tensor, count = cause.get("tensor"), cause.get("count")
    was, dtype = cause.get("was"), cause.get("dtype")
    match cause["kind"]:
        case "wrong_base":
            return Text(
                f"基座模型不对：{count} 个适配器没有动过的张量与基座不同，例如 {tensor}。用训练时的基座重新合并",
                f"wrong base model: {count} tensors that the adapter does not change differ from the base model, such as {tensor}. Merge again with the base model used in training",
            )
        case "other_adapter":
            return Text(
                f"适配器不对（旧的，或别的训练的）：{count} 个张量不是基座加这个适配器，例如 {tensor}。重新合并",
                f"different adapter (an old one, or from another run): {count} tensors are not base + this adapter, such as {tensor}. Merge again",
            )
        case "not_merged":
            return Text(
                f"适配器没有合并进去：{count} 个张量与基座完全相同。重新合并",
                f"the adapter is not merged in: {count} tensors equal the base model's. Merge again",
            )
        case "stale_adapter":
            return Text(
                "合并之后适配器变了（重新转换过，或被换掉）：重新合并",
                "the adapter has changed since the merge (converted again, or replaced): merge again",
            )
        case "base_changed":
            return Text(
                "合并之后基座模型的权重变了：用训练时的基座重新合并",
                "the base model's weights have changed since the merge: merge again with the base model used in training",
            )
        case "prompt":
            return Text(
                f"apply_chat_template 得到的是 {cause['published']!r}，训练时是 {cause['trained']!r}。重新合并（export merge）；"
                "仍不一致，说明这个分词器自己改写了对话，发布时请写明提示词",
                f"apply_chat_template gives {cause['published']!r} where training gave {cause['trained']!r}. Merge again (export merge); if that does not help, the tokenizer rewrites conversations by itself: document the prompt when publishing",
            )
        case "answers":
            return Text(
                f"问 {cause['asked']!r}，用 apply_chat_template 和 generate 得到的是 {cause['said']!r}，与对话时不同："
                "看 generation_config.json 是否被改过，重新合并（export merge）",
                f"asked {cause['asked']!r}, apply_chat_template and generate give {cause['said']!r}, which differs from the answer in chat: check whether generation_config.json was changed, and merge again (export merge)",
            )
        case "adapter_prompt":
            return Text(
                "适配器目录里没有训练时的对话模板（由旧版本转换，或被改过）：重新转换（export convert）",
                "the adapter does not include the chat_template used in training (converted by an earlier version, or changed): convert again (export convert)",
            )
        case "not_trained_on":
            return Text(
                "这个基座模型不是训练时用的那个（权重不同）：换回训练时的基座，再导出",
                "this is not the base model used in training (its weights differ): restore that one and export again",
            )
        case "overflow":
            return Text(
                f"{count} 个数值超出了 {dtype} 的范围（原来是 {was}），例如 {tensor}：改用 bfloat16 重新合并",
                f"{count} values are out of range for {dtype} (they were {was}), such as in {tensor}: merge again as bfloat16",
            )
        case "precision":
            return Text(
                f"精度丢失：基座是 {was}，合并后只有 {dtype}，而这不是你选的。按原精度重新合并",
                f"precision was lost: the base model is {was}, the merged model {dtype}, which you did not select. Merge again in the base model's precision",
            )
    return Text(
        "没有找到具体原因：重新转换、合并、校验一次，仍不一致请查看日志",
        "unknown reason: convert, merge and verify again; if that does not help, check the log",
    )
