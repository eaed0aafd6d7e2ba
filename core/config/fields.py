"""The settings of a config that a person changes: each with XTuner's name, label, help and bounds, once.

The form, the command line and the check are drawn from here. A setting's value lives in the config file only.
"""

from dataclasses import dataclass
from typing import Any, Literal

from core.engine.config_file import MISSING, ConfigFile
from core.ground.errors import BadInput
from core.ground.text import Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One setting. `places` are paths in the config file; the first that is there is the one."""

    name: str
    places: tuple[str, ...]
    kind: Literal["int", "float", "bool", "text", "list"]
    label: Text
    help: Text
    least: float | None = None
    most: float | None = None
    advanced: bool = False
    # What XTuner takes where the file does not say.
    default: Any = None

    def place(self, config: ConfigFile) -> str:
        """The path of this setting in `config`."""
        return next((path for path in self.places if config.get(path) is not MISSING), self.places[-1])

    def read(self, config: ConfigFile) -> Any:
        """Its value in `config`: a literal, a `Source` where it is code."""
        value = config.get(self.place(config))
        return self.default if value is MISSING else value

    def check(self, value: Any) -> Any:
        """`value`, of the right type and within bounds; else raises BadInput. Text is read as Python would."""
        if self.kind in ("int", "float") and isinstance(value, bool):
            raise self._refusal(value)
        if self.kind == "float" and isinstance(value, int):
            value = float(value)
        types = {"int": int, "float": float, "bool": bool, "text": str, "list": list}
        if not isinstance(value, types[self.kind]):
            raise self._refusal(value)
        if self.kind in ("int", "float"):
            low, high = self.least, self.most
            if value != value or (low is not None and value < low) or (high is not None and value > high):
                raise self._refusal(value)
        if self.kind == "list" and not (value and all(isinstance(item, str) and item.strip() for item in value)):
            raise self._refusal(value)
        return value

    def _refusal(self, value: Any) -> BadInput:
        bounds = f"{self.least} … {self.most}" if self.least is not None else self.kind
        return BadInput(
            f"{self.name}={value!r} 不可用：应为 {self.kind}，范围 {bounds}",
            f"{self.name}={value!r} cannot be used: it takes {self.kind}, {bounds}",
        )


FIELDS = (
    Field(
        name="max_length",
        places=("max_length",),
        kind="int",
        least=16,
        most=1_000_000,
        label=Text("最大长度", "Maximum length"),
        help=Text("每条样本最多多少 token，超出的部分会被截掉。", "Most tokens of a row; what is longer is cut off."),
    ),
    Field(
        name="pack_to_max_length",
        places=("pack_to_max_length",),
        kind="bool",
        label=Text("打包成长序列", "Pack rows"),
        help=Text(
            "把多条短样本拼成一条长序列。几条短样本打包后更新次数会变得很少。",
            "Joins short rows into long ones. With few short rows hardly any update is left.",
        ),
    ),
    Field(
        name="batch_size",
        places=("batch_size",),
        kind="int",
        least=1,
        most=4096,
        label=Text("批大小（每卡）", "Batch size (per GPU)"),
        help=Text("一次迭代用几条样本。越大越占显存。", "Rows of one iteration. More takes more memory."),
    ),
    Field(
        name="accumulative_counts",
        places=("accumulative_counts",),
        kind="int",
        least=1,
        most=4096,
        label=Text("梯度累积", "Gradient accumulation"),
        help=Text(
            "几次迭代才更新一次参数。样本很少时设为 1，否则更新次数不够，学不会。",
            "Iterations for one optimizer update. With little data take 1, or there are too few updates to learn.",
        ),
    ),
    Field(
        name="max_epochs",
        places=("max_epochs",),
        kind="int",
        least=1,
        most=10_000,
        label=Text("训练轮数", "Epochs"),
        help=Text("整个数据集看几遍。", "How often the whole dataset is seen."),
    ),
    Field(
        name="lr",
        places=("lr",),
        kind="float",
        least=1e-8,
        most=0.1,
        label=Text("学习率", "Learning rate"),
        help=Text(
            "每次更新走多大一步。太大学坏，太小学不会；LoRA 常用 1e-4 到 1e-3。",
            "The size of a step. Too large breaks the model, too small teaches nothing; LoRA takes 1e-4 to 1e-3.",
        ),
    ),
    Field(
        name="r",
        places=("model.lora.r",),
        kind="int",
        least=1,
        most=1024,
        label=Text("LoRA 秩 r", "LoRA rank r"),
        help=Text("适配器有多大。身份认知 16 到 64 足够。", "The adapter's size. 16 to 64 is enough for an identity."),
    ),
    Field(
        name="lora_alpha",
        places=("model.lora.lora_alpha",),
        kind="int",
        least=1,
        most=4096,
        label=Text("LoRA alpha", "LoRA alpha"),
        help=Text("适配器的力度，按 alpha / r 缩放。", "The adapter's weight, scaled as alpha / r."),
    ),
    Field(
        name="lora_dropout",
        places=("model.lora.lora_dropout",),
        kind="float",
        least=0.0,
        most=0.9,
        label=Text("LoRA dropout", "LoRA dropout"),
        help=Text(
            "训练时随机关掉的比例，防止死记硬背。", "The share switched off at random, against learning by heart."
        ),
        advanced=True,
    ),
    Field(
        name="save_steps",
        places=("save_steps",),
        kind="int",
        least=1,
        most=1_000_000,
        label=Text("保存间隔（迭代）", "Checkpoint every (iterations)"),
        help=Text(
            "每隔多少次迭代存一个检查点；大于总迭代数就只在最后存。",
            "More than the whole run means one checkpoint, at the end.",
        ),
    ),
    Field(
        name="save_total_limit",
        places=("save_total_limit",),
        kind="int",
        least=-1,
        most=1000,
        label=Text("最多保留检查点", "Checkpoints kept"),
        help=Text("超过时删最旧的；-1 表示全部保留。", "The oldest is deleted beyond this; -1 keeps all."),
        advanced=True,
    ),
    Field(
        name="evaluation_freq",
        places=("evaluation_freq",),
        kind="int",
        least=1,
        most=1_000_000,
        label=Text("评测间隔（迭代）", "Evaluate every (iterations)"),
        help=Text("每隔多少次迭代让模型回答评测问题。", "How often the model answers the evaluation questions."),
    ),
    Field(
        name="evaluation_inputs",
        places=("evaluation_inputs",),
        kind="list",
        label=Text("评测问题", "Evaluation questions"),
        help=Text(
            "训练前、训练中、训练后都会问的问题，每行一个。", "Asked before, during and after the training, one a line."
        ),
    ),
    Field(
        name="SYSTEM",
        places=("SYSTEM",),
        kind="text",
        label=Text("系统提示词", "System prompt"),
        help=Text(
            "评测时的系统提示词；应与训练数据和聊天一致，默认留空。",
            "The system prompt of the evaluation; it should be that of the data and the chat: empty.",
        ),
        advanced=True,
    ),
    Field(
        name="max_new_tokens",
        places=("custom_hooks[1].max_new_tokens",),
        kind="int",
        least=1,
        most=4096,
        default=600,
        label=Text("评测回答长度", "Longest evaluation answer"),
        help=Text(
            "评测时每个回答最多多少 token；太大会拖慢训练。", "Most tokens of an answer; many slow the training down."
        ),
        advanced=True,
    ),
    Field(
        name="warmup_ratio",
        places=("warmup_ratio",),
        kind="float",
        least=0.0,
        most=0.9,
        label=Text("预热比例", "Warm-up share"),
        help=Text("开头多大比例的迭代里学习率慢慢升高。", "The share of iterations in which the learning rate climbs."),
        advanced=True,
    ),
    Field(
        name="map_num_proc",
        places=("train_dataloader.dataset.map_num_proc",),
        kind="int",
        least=1,
        most=256,
        default=32,
        label=Text("数据处理进程数", "Data processes"),
        help=Text("数据很少时 1 最快。", "With little data 1 is fastest."),
        advanced=True,
    ),
    Field(
        name="use_activation_checkpointing",
        places=("model.use_activation_checkpointing",),
        kind="bool",
        default=True,
        label=Text("激活检查点", "Activation checkpointing"),
        help=Text("用时间换显存：显存够就关掉。", "Trades time for memory: switch it off where memory is enough."),
        advanced=True,
    ),
    Field(
        name="seed",
        places=("randomness.seed",),
        kind="int",
        least=0,
        most=2**31 - 1,
        label=Text("随机种子", "Seed"),
        help=Text("同样的种子得到同样的结果。", "The same seed gives the same result."),
        advanced=True,
    ),
)
BY_NAME = {field.name: field for field in FIELDS}
