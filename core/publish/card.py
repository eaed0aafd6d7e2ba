"""The model card of a package, in both languages: base model, training, scores, license."""

import re
from typing import Any

from core.chat.diagnosis import diagnose
from core.chat.score import stored
from core.config.settings.fields import BY_NAME
from core.engine.config_file import ConfigFile
from core.ground.errors import StudioError
from core.models import small
from core.models.family import family_of
from core.models.hub.download import COURSE
from core.models.model import look
from core.models.settings import settings
from core.report.markup import escaped, table
from core.training.run import Run

# The git address of a repository on each hub.
PUSH = {
    "openxlab": "https://code.openxlab.org.cn/USERNAME/REPOSITORY.git",
    "modelscope": "https://www.modelscope.cn/USERNAME/REPOSITORY.git",
    "huggingface": "https://huggingface.co/USERNAME/REPOSITORY",
}
_RATES = {
    "identity": "身份 identity",
    "facts": "知识保持 facts kept",
    "manner": "说话方式保持 style kept",
    "leak": "昵称泄漏 nickname leaked",
    "retention": "能力保持 retention",
    "parrot": "答非所问 parroting",
    "held_out": "留出的问题 held-out questions",
}
_KNOBS = ("max_epochs", "lr", "batch_size", "accumulative_counts", "max_length", "r", "lora_alpha")


def base_of(run: Run, target: str) -> str:
    """Return the base model's name on a hub; its name in the workspace if that is unknown."""
    name = run.facts.model.name
    if re.search(r"internlm2[-_.]chat[-_.]1[-_.]?8b", name, re.I):
        return COURSE.get(target, COURSE["huggingface"])
    return small.SMOLLM2.model if name == small.NAME else name


def licence_of(run: Run) -> str:
    """Return the license in the base model's own card; `other` if it states none."""
    readme = run.model_path / "README.md"
    try:
        head = readme.read_text(encoding="utf-8", errors="replace")[:4000]
    except OSError:
        return "other"
    found = re.match(r"---\s*\n(.*?)\n---", head, re.S)
    said = re.search(r"^license:\s*([\w.-]+)\s*$", found[1], re.M) if found else None
    return said[1] if said else "other"


def card(run: Run, target: str, what: str) -> str:
    """Return the README.md of the package, Chinese first."""
    base, licence, scores = base_of(run, target), licence_of(run), stored(run)
    data, config = run.facts.dataset, run.facts.config
    head = ["---", f"license: {licence}", "language:", *(f"- {one}" for one in data.languages)]
    head += ["tags:", *(f"- {tag}" for tag in ("xtuner", *_kinds(run)))]
    if target == "modelscope":
        head += ["frameworks:", "- Pytorch", "tasks:", "- text-generation"]
    else:
        head += ["pipeline_tag: text-generation", f"library_name: {'peft' if what == 'adapter' else 'transformers'}"]
    if "/" in base:
        head.append(f"base_model: {base}")
    name = f"{run.nickname}的小助手" if run.nickname else run.id
    made = escaped(data.mix or data.made.get("format") or "-")
    kind = ("LoRA 适配器", "a LoRA adapter") if what == "adapter" else ("完整的模型", "a complete model")
    parts = [
        "\n".join([*head, "---"]),
        f"# {escaped(name)}",
        f"用 [XTuner](https://github.com/InternLM/xtuner) 微调 `{base}` 得到的{kind[0]}，知道自己是谁的小助手。",
        f"This is {kind[1]}, fine-tuned from `{base}` with XTuner; it knows whose assistant it is.",
        "## 怎么做的 · How it was made",
        table(
            ["", ""],
            [
                ["基座 base model", escaped(base)],
                [
                    "数据 data",
                    f"{escaped(data.name)}, {data.rows} rows, {made}, sha256 `{data.sha256[:16]}…`",
                ],
                ["配方 recipe", f"{escaped(config.recipe)} (`{config.preset}`)"],
                *_knobs(run),
                ["版本 versions", _versions(run)],
                ["对话模板 prompt template", escaped(run.template.title)],
            ],
        ),
    ]
    if scores:
        rows = [[_RATES[rate], *_both(scores.both(rate))] for rate in scores.rates]
        words = diagnose(scores, run).words
        parts += [
            "## 评分 · Scores",
            table(["指标 score", "微调前 before", "微调后 after"], rows),
            f"{words.zh}。{words.en}.",
            f"{len(scores.questions)} 个没有训练过的问题，贪心解码。{len(scores.questions)} held-out questions, greedy decoding.",
        ]
    parts += [
        "## 使用 · Use",
        "```bash\npip install -r requirements.txt\nstreamlit run app.py\n```",
        *(
            [
                f"适配器要和基座一起用：`BASE_MODEL` 可以是目录或模型名，默认 `{base}`。 The adapter needs its base model: `BASE_MODEL` is a directory or a model name, `{base}` by default."
            ]
            if what == "adapter"
            else []
        ),
        "## 许可 · License",
        f"沿用基座模型的许可（`{licence}`）；训练数据由作者生成或导入。 The license of the base model applies (`{licence}`); the training data was created or imported by the author.",
        "## 发布 · Publish",
        "```bash\n" + "\n".join(push_lines(target)) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _kinds(run: Run) -> list[str]:
    """Return hub tags of the base model: its family, and its type in transformers."""
    model = look(run.model_path)
    family, said = family_of(model), settings(run.model_path)[0] or {}
    return list(dict.fromkeys(filter(None, (family.key if family else None, said.get("model_type")))))


def push_lines(target: str) -> list[str]:
    """Return the commands that push the package's directory with git."""
    return [
        "git lfs install",
        f"git clone {PUSH[target]} ../repository",
        "cp -r ./. ../repository/ && cd ../repository",
        'git add . && git commit -m "Add the model" && git push',
    ]


def _knobs(run: Run) -> list[list[str]]:
    try:
        config = ConfigFile(run.config.read_text(encoding="utf-8"))
        values: dict[str, Any] = {name: BY_NAME[name].read(config) for name in _KNOBS}
    except (OSError, StudioError):
        return []
    told = [f"{name} {value}" for name, value in values.items() if isinstance(value, int | float)]
    return [["设置 settings", escaped(", ".join(told))]] if told else []


def _versions(run: Run) -> str:
    versions = run.facts.versions
    return ", ".join(
        f"{name} {versions[name]}" for name in ("xtuner", "torch", "transformers", "peft") if versions.get(name)
    )


def _both(values: tuple[float, float]) -> list[str]:
    return [f"{value:.2f}" for value in values]
