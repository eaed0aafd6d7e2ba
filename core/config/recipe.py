"""Recipes: from a preset to a config for one model, one dataset, one machine. Each edit carries its reason.

    course    exactly the course's edits of its preset, nothing else
    fast      few unique rows learned in a fraction of the time, with checkpoints and answers during training
    pretrain  continued pre-training on texts, with an adapter, so that it fits where full training does not
    preset    any preset unchanged (full fine-tuning, DPO, a reward model …), with your model and data where it has places
              for them; the rest is for the editor

On a machine without a GPU all but `preset` get what XTuner needs there. Writes no file.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from core.config import hardware, keeping
from core.config.fit import Fit
from core.config.pace import RANK, SMALL_PARAMETERS, Pace
from core.config.settings.edit import Edit
from core.config.settings.method import HOOK, one_dataset, prompt_template, quantised, wrapped_in
from core.engine.config_file import MISSING, ConfigFile, Source
from core.ground.errors import BadInput
from core.ground.text import Text
from core.models.model import Model

RecipeName = Literal["course", "fast", "pretrain", "preset"]
RECIPES: tuple[RecipeName, ...] = ("course", "fast", "pretrain", "preset")
# Recipes whose runs stop early once the identity is learned.
ENDS_EARLY = ("fast",)
DATASET = "train_dataloader.dataset"
# For a corpus: updates, epochs at most, and rows per iteration if memory allows. Results are in docs/corpus.md. On a CPU
# an update takes many seconds.
PRETRAIN = {"cpu": (80, 10, 4), "gpu": (1200, 60, 16)}
ROWS_PER_UPDATE = 16
TOY_PRETRAIN = (550, 10)
RANKS = {"course": 64, "fast": RANK, "pretrain": 64, "preset": 64}
_MODEL, _DATA = Text("你的模型", "your model"), Text("你的数据集", "your dataset")
_ASKED = Text("训练中要问的问题", "evaluation questions during training")
_LOCAL = Text("读取本地 JSON 文件", "read a local JSON file")
_ROWS = Text("数据已经是 XTuner 的格式", "the rows are already in XTuner's format")
_ONE_PROCESS = Text("数据少，一个进程最快", "small dataset: one process is fastest")
_EVERY_LOSS = Text("每次迭代都有损失值", "log the loss at every iteration")
_UNPRESSED = Text("内存够用，更快", "memory is sufficient, and this is faster")
_REPEAT = Text("可以重现", "makes the run reproducible")
_WARM = Text(
    "预热至少要有两次迭代：只有一次时学习率一直停在起点",
    "the warmup needs at least two iterations: with one, the learning rate stays at its start value",
)


def check_preset(preset: ConfigFile, name: str, recipe: RecipeName) -> None:
    """Raise BadInput if `recipe` does not support a preset: it needs one dataset, and LoRA unless it is for texts."""
    if recipe == "preset":
        return
    one = one_dataset(preset)
    texts = preset.get(f"{DATASET}.template_map_fn") is None
    if not one or texts != (recipe == "pretrain") or (not texts and preset.get("model.lora") is MISSING):
        wanted = "full_custom_pretrain" if recipe == "pretrain" else "qlora"
        raise BadInput(
            f"配方 {recipe} 不适用于预设 {name}：请选名字里有 {wanted} 的单数据集预设，或用配方 preset 原样使用它",
            f"the recipe {recipe} does not support the preset {name}: choose a single-dataset preset with {wanted} in its name, or use the recipe preset",
        )


def edits(
    recipe: RecipeName,
    preset: ConfigFile,
    *,
    model: Model,
    data: Path,
    rows: int,
    questions: list[str],
    gpu: bool,
    bf16: bool = False,
    kept: bool = False,
    cards: int = 1,
    fit: Fit | None = None,
) -> Iterator[Edit]:
    """Yield all edits of `recipe` to `preset`, for a dataset file of `rows` rows and the evaluation questions.

    `bf16`: the processor multiplies bf16, which matters without a GPU. `kept`: the base model's answers are kept as
    likely as they were. `fit` suits this machine's GPU; without it the preset's own method and precision stay. `cards`
    is how many GPUs may share the rows.
    """
    if recipe == "preset":
        yield from task_edits(preset, model, data, questions)
        return
    yield from _task_edits(preset, model, data, questions)
    yield from own_prompt(preset, model)
    tiny = model.toy
    if recipe == "fast":
        yield from _fast_edits(model, rows, gpu, kept, cards, None if tiny else fit)
    if recipe == "pretrain":
        yield from _pretrain_edits(model, data, rows, gpu, fit)
    if recipe != "course" and fit and gpu and not tiny:
        yield from hardware.fitted(fit)
    if not gpu:
        yield from hardware.without_gpu(bf16=bf16 and model.parameters >= hardware.LEAST_BF16)
    elif recipe != "course" and tiny:
        yield from hardware.plain(Text("模型很小，不必压缩", "a model this small does not need quantization"))


def task_edits(config: ConfigFile, model: Model, data: Path, questions: list[str]) -> Iterator[Edit]:
    """Yield the edits of `_task_edits` that fit any config: a preset without a recipe, or one written by hand."""
    for path, value, why in (
        ("model.llm.pretrained_model_name_or_path", str(model.path), _MODEL),
        ("tokenizer.pretrained_model_name_or_path", str(model.path), _MODEL),
        (f"{HOOK}.evaluation_inputs", questions, _ASKED),
    ):
        if config.get(path) is not MISSING:
            yield Edit(path=config.names(path) or path, value=value, why=why)
    yield from own_prompt(config, model)
    if one_dataset(config):
        source = f'dict(type=load_dataset, path="json", data_files=dict(train={str(data)!r}))'
        yield Edit(path=f"{DATASET}.dataset", value=Source(source), why=_LOCAL)
        yield Edit(path=f"{DATASET}.dataset_map_fn", value=None, why=_ROWS)


def own_prompt(config: ConfigFile, model: Model) -> Iterator[Edit]:
    """Yield the edits that make the config use the model's own prompt template, if it uses another."""
    now = prompt_template(config)
    if now is None or now.same(model.prompt_template):
        return
    for path, value in wrapped_in(config, model.prompt_template):
        yield Edit(path=path, value=value, why=model.prompt.reason)


def _task_edits(preset: ConfigFile, model: Model, data: Path, questions: list[str]) -> Iterator[Edit]:
    """Yield the course's changes: model, data file, evaluation questions, and a local file instead of the hub's."""
    yield Edit(path="pretrained_model_name_or_path", value=str(model.path), why=_MODEL)
    variable = preset.names(f"{DATASET}.dataset.path")
    if variable:
        yield Edit(path=variable, value=str(data), why=_DATA)
    yield Edit(path="evaluation_inputs", value=questions, why=_ASKED)
    yield Edit(
        path=f"{DATASET}.dataset",
        value=Source(f'dict(type=load_dataset, path="json", data_files=dict(train={variable or repr(str(data))}))'),
        why=_LOCAL,
    )
    yield Edit(path=f"{DATASET}.dataset_map_fn", value=None, why=_ROWS)


def _fast_edits(model: Model, rows: int, gpu: bool, kept: bool, cards: int, fit: Fit | None) -> Iterator[Edit]:
    """Yield the edits for enough updates on short rows, and for answers during training."""
    tiny, pace = model.toy, Pace.of(model, rows, kept=kept, cards=cards, fit=fit)
    yield Edit(
        path="pack_to_max_length",
        value=False,
        why=Text("样本又少又短，打包后几乎没有更新", "few short rows: with packing, hardly any updates remain"),
    )
    yield Edit(path="max_length", value=512, why=Text("样本都很短", "the rows are short"))
    yield Edit(path="batch_size", value=pace.batch, why=Text("一次看几条短样本", "several short rows per iteration"))
    if pace.accumulate == 1:
        yield Edit(path="accumulative_counts", value=1, why=Text("每次迭代都更新参数", "one update per iteration"))
    else:
        yield Edit(
            path="accumulative_counts",
            value=pace.accumulate,
            why=Text("每条数据看两遍，更新次数也不多", "every row twice, in few updates"),
        )
    yield Edit(
        path="max_epochs",
        value=pace.epochs,
        why=Text(f"共 {pace.updates} 次参数更新", f"{pace.updates} optimizer updates in all"),
    )
    yield Edit(
        path="lr",
        value=pace.rate,
        why=Text("适合这个大小的模型和更新次数", "suits this model size and number of updates"),
    )
    if not tiny:
        yield Edit(
            path="model.lora.r",
            value=pace.rank,
            why=Text("学会一个身份，小适配器就够", "a small adapter is enough to learn an identity"),
        )
        yield Edit(path="model.lora.lora_alpha", value=2 * pace.rank, why=Text("alpha 取 r 的两倍", "alpha is twice r"))
        if kept:
            yield from keeping.edits(model)
    yield Edit(
        path="model.lora.lora_dropout",
        value=0.0 if tiny else 0.05,
        why=Text("更新次数少，不必丢弃太多", "with few updates, little dropout is needed"),
    )
    yield Edit(path="save_steps", value=pace.every(3), why=Text("训练途中也有检查点", "checkpoints during training"))
    yield Edit(path="save_total_limit", value=3, why=Text("保留每个检查点", "keep all of them"))
    # Each look takes seconds, most of all on a processor.
    looks = 6 if pace.iterations >= 60 else 3
    yield Edit(path="evaluation_freq", value=pace.every(looks), why=Text("看着它学", "watch it learn"))
    yield Edit(
        path=f"{HOOK}.max_new_tokens",
        value=96 if tiny else 64,
        why=Text("评测回答不必很长", "evaluation answers are short"),
    )
    yield Edit(
        path="SYSTEM",
        value="",
        why=Text("训练、评测、聊天用同一种提示", "the same prompt for training, evaluation and chat"),
    )
    if cards > 1 or not tiny:
        yield Edit(path="warmup_ratio", value=0.1 if pace.each * pace.epochs >= 25 else 0.3, why=_WARM)
    yield Edit(path=f"{DATASET}.map_num_proc", value=1, why=_ONE_PROCESS)
    yield Edit(path=f"{DATASET}.shuffle_before_pack", value=False, why=Text("不打包", "packing is off"))
    yield Edit(path="default_hooks.logger.interval", value=1, why=_EVERY_LOSS)
    yield Edit(path="randomness.seed", value=42, why=_REPEAT)
    if tiny or not gpu:
        yield Edit(
            path="model.use_activation_checkpointing",
            value=False,
            why=_UNPRESSED,
        )


def _pretrain_edits(model: Model, data: Path, rows: int, gpu: bool, fit: Fit | None) -> Iterator[Edit]:
    """Yield the edits for an adapter instead of full training, and for enough updates on a small corpus."""
    tiny, small = model.toy, model.parameters < SMALL_PARAMETERS
    if tiny:
        # About 4 bytes of JSON per token, 512 tokens per pack, one at a time.
        batch = accumulate = 1
        updates, most = TOY_PRETRAIN
        each = max(1, data.stat().st_size // 2048)
    else:
        updates, most, batch = PRETRAIN["gpu" if gpu else "cpu"]
        batch = min(batch, fit.batch_size) if fit else min(batch, PRETRAIN["cpu"][2])
        accumulate, each = math.ceil(ROWS_PER_UPDATE / batch), math.ceil(rows / batch)
    epochs = min(most, math.ceil(updates * accumulate / each))
    total = each * epochs
    why = Text("只训练适配器：全量微调在小显存上放不下", "adapter only: full fine-tuning does not fit in this memory")
    lora = "dict(type=LoraConfig, r=64, lora_alpha=128, lora_dropout=0.05, bias='none', task_type='CAUSAL_LM')"
    yield Edit(path="model.lora", value=Source(lora), why=why)
    if gpu and not tiny:
        yield Edit(path="model.llm.torch_dtype", value=Source("torch.float16"), why=why)
        yield Edit(path="model.llm.quantization_config", value=quantised("float16"), why=why)
    yield Edit(path="max_length", value=512, why=Text("一段文字的长度", "the length of a chunk"))
    if not tiny:
        alone = Text("每段从头读起，和提问时一样", "each chunk is read from its beginning, as in a question")
        yield Edit(path="pack_to_max_length", value=False, why=alone)
    yield Edit(path="batch_size", value=batch, why=Text("一次看几段文字", "chunks per iteration"))
    yield Edit(
        path="accumulative_counts",
        value=accumulate,
        why=Text(f"每次更新看约 {batch * accumulate} 行", f"about {batch * accumulate} rows to an update"),
    )
    yield Edit(
        path="max_epochs",
        value=epochs,
        why=Text("语料少就多看几遍", "small corpus: several epochs"),
    )
    yield Edit(path="warmup_ratio", value=0.1 if total >= 200 else 0.3, why=_WARM)
    yield Edit(
        path="lr",
        value=2e-3 if tiny else 1e-3 if small else 2e-4,
        why=Text("适合这个大小的模型的适配器", "suits an adapter for a model of this size"),
    )
    yield Edit(
        path="save_steps",
        value=max(1, math.ceil(total / 3)),
        why=Text("训练途中也有检查点", "checkpoints during training"),
    )
    yield Edit(path="evaluation_freq", value=max(1, math.ceil(total / 6)), why=Text("看着它学", "watch it learn"))
    yield Edit(path=f"{HOOK}.max_new_tokens", value=64, why=Text("续写不必很长", "continuations are short"))
    yield Edit(path=f"{DATASET}.map_num_proc", value=1, why=_ONE_PROCESS)
    yield Edit(path="default_hooks.logger.interval", value=1, why=_EVERY_LOSS)
    yield Edit(path="randomness.seed", value=42, why=_REPEAT)
    if tiny or not gpu:
        yield Edit(path="model.use_activation_checkpointing", value=False, why=_UNPRESSED)
