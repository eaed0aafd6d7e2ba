"""Problems with a run's prompts: compared with the model's own prompt, and the data's with the evaluation's.

The model's own prompt is determined by `core.models.prompt`.
"""

from collections.abc import Iterator

from core.data.row import Row
from core.engine.presets import PromptTemplate, prompt_templates, system_templates
from core.forecast.case import Case, problem, said
from core.ground.problem import Problem


def prompt(case: Case) -> Iterator[Problem]:
    """Yield problems: a prompt template other than the model's own; different system prompts in rows and evaluation."""
    told, model = case.facts["data"].get("template"), case.model
    template = PromptTemplate.of(None, told) if isinstance(told, dict) else prompt_templates().get(told or "")
    if template and model.prompt.known and not template.same(model.prompt_template):
        fix = {"prompt_template": model.prompt_template.name or "own"}
        yield problem(
            "prompt_template",
            (
                f"配置的对话模板是 {template.label}，而模型 {model.name} 自己的 chat_template 写成 "
                f"{model.prompt_template.label}",
                f"the config uses the prompt template {template.label}, but the chat_template of the model {model.name} corresponds to {model.prompt_template.label}",
            ),
            (f"设置 {said(fix)}", f"set {said(fix)}"),
            fix,
        )
    if template:
        yield from _in_tokens(case, template)
    evaluation = case.facts["evaluation"]
    if template is None or evaluation is None:
        return
    asked = _text(evaluation.get("system") or "")
    if asked is None:
        return
    rows = {"\n".join(filter(None, (turn.get("system") for turn in row["conversation"]))) for row in _first_rows(case)}
    if rows and asked not in rows:
        fix = {"SYSTEM": min(rows)} if len(rows) == 1 else None
        only = min(rows)
        yield problem(
            "SYSTEM",
            (
                "训练数据里没有系统提示词，而评测时会发送 SYSTEM"
                if not only
                else "训练数据里有系统提示词，而评测时发送的不是它",
                "the data has no system prompt, but the evaluation sends SYSTEM"
                if not only
                else "the data has a system prompt, but the evaluation sends a different one or none",
            ),
            ("把 SYSTEM 设成与数据相同", "set SYSTEM to the system prompt of the data"),
            fix,
        )
    if any(rows) and not model.prompt.system and model.prompt.known:
        yield problem(
            "dataset",
            (
                f"数据里有系统提示词，而模型 {model.name} 的 chat_template 没有它在 XTuner 里的写法：会写在问题之前",
                f"the data has system prompts, but the chat_template of {model.name} has no place for them that XTuner can express: they are prepended to the question",
            ),
            ("把系统提示词并入问题，或去掉", "move them into the question, or remove them"),
        )


def _in_tokens(case: Case, template: PromptTemplate) -> Iterator[Problem]:
    """Yield problems with how the model's tokenizer encodes the template."""
    proof, model = case.proof, case.model
    if proof is None:
        return
    if proof.begins_twice:
        yield problem(
            "prompt_template",
            (
                f"模型 {model.name} 的分词器会在开头加一个起始符，模板里又写了一个：每条样本开头有两个",
                f"the tokenizer of {model.name} adds a beginning-of-sequence token to each row, and so does the template: every row has two",
            ),
            ("从模板的 INSTRUCTION 里去掉起始符", "remove the token from the template's INSTRUCTION"),
        )
    if proof.split and not (model.prompt.known and template.same(model.prompt_template)):
        marks = ", ".join(proof.split[:4])
        fix = {"prompt_template": model.prompt_template.name or "own"} if model.prompt.known else None
        yield problem(
            "prompt_template",
            (
                f"模板里的 {marks} 在模型 {model.name} 的词表里不是单个 token：模型没有见过这样的标记，也不会用它结束回答",
                f"{marks} of the template is not a single token for {model.name}: the model does not know it and will not end its answers with it",
            ),
            ("用模型自己的对话模板", "use the model's own prompt template"),
            fix,
        )
    if proof.trained is not None:
        yield problem(
            "prompt_template",
            (
                f"逐 token 对照不一致：训练时分段编码得到 {proof.trained!r}，对话时整段编码得到 {proof.whole!r}",
                f"the tokens differ: training, which tokenizes part by part, has {proof.trained!r} where chat, which tokenizes the full text, has {proof.whole!r}",
            ),
            (
                "差别在各段的接缝处，通常不影响学习；若对话时回答异常，换一个对话模板",
                "the difference is at the joints and rarely matters; if the answers in chat are odd, use another template",
            ),
        )


def _first_rows(case: Case) -> list[Row]:
    """Return enough rows to judge the data; none if they are missing."""
    try:
        return case.dataset.page(0, 200)
    except OSError:
        return []


def _text(system: str | dict[str, str]) -> str | None:
    """Return the text of a system prompt that may be one of XTuner's, by name; None if it is something else."""
    if isinstance(system, str):
        return system
    return system_templates().get(system.get("$name", "").rpartition(".")[2])
