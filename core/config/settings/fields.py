"""The settings of a config: those that matter for the task, then advanced ones, in the order of the form.

The form, the command line and the check are generated from here. Help texts say what a value changes.
"""

from core.config.settings import method
from core.config.settings.field import Field
from core.config.settings.method import HOOK
from core.engine.config_file import MISSING, ConfigFile, Source
from core.engine.presets import map_functions, system_templates
from core.ground.text import Text


def _system(config: ConfigFile) -> str | Source | None:
    """Return the evaluation's system prompt, with XTuner's own as text; None if there is no place for it."""
    for place in (f"{HOOK}.system", "SYSTEM"):
        found = config.get(place)
        if isinstance(found, Source) and found.code.startswith("SYSTEM_TEMPLATE."):
            return system_templates().get(found.code.removeprefix("SYSTEM_TEMPLATE."), found)
        if found is not MISSING:
            return found
    return "" if config.holds(f"{HOOK}.system") else None


def _to_system(config: ConfigFile, text: str) -> method.Changes:
    place = f"{HOOK}.system"
    yield (config.names(place) or place) if config.holds(place) else "SYSTEM", text


ESSENTIAL = (
    Field(
        name="method",
        kind="choice",
        group="task",
        label=Text("训练方式", "Method"),
        help=Text(
            "qlora 把原权重压成 4 比特、只训练适配器，最省显存；lora 不压缩，快一些但 1.8B 约多占 5 GB；full 训练全部权重，"
            "1.8B 需要 30 GB 左右，而且容易忘掉原来会的东西。",
            "qlora quantizes the weights to 4 bits and trains an adapter: least memory. lora keeps full-precision weights: faster, but about 5 GB more for 1.8B. full trains every weight: about 30 GB for 1.8B, and the model forgets more easily.",
        ),
        options=lambda: method.METHODS,
        look=method.method,
        edits=method.to_method,
    ),
    Field(
        name="task",
        kind="choice",
        group="task",
        label=Text("训练内容", "Task"),
        help=Text(
            "sft 用一问一答教模型怎样回答；pretrain 是增量预训练，让模型接着读纯文本，学到的是知识和文风，不是对话。",
            "sft trains on questions and answers. pretrain continues pre-training on plain text: it adds knowledge and style, not dialogue.",
        ),
        options=lambda: method.TASKS,
        look=method.task,
        edits=method.to_task,
    ),
    Field(
        name="prompt_template",
        kind="choice",
        group="task",
        label=Text("对话模板", "Prompt template"),
        help=Text(
            "把问题包成模型见过的样子。与模型不符时，训练等于教它一种它不认识的语言，对话时也用不上。",
            "Wraps each question in the format the model knows. A template that is not the model's own teaches it a format that chat applications will not use.",
        ),
        options=method.template_choices,
        look=method.template,
        edits=method.to_template,
        default="default",
    ),
    Field(
        name="max_length",
        kind="int",
        group="data",
        places=("train_dataloader.dataset.max_length", "max_length"),
        least=16,
        most=1_000_000,
        picks=(256, 512, 1024, 2048, 4096),
        label=Text("最大长度", "Maximum length"),
        help=Text(
            "一条样本最多多少 token，多出的会被截掉，答案的结尾就学不到。加倍约使激活显存加倍。",
            "Maximum tokens per row; the rest is truncated, including the end of the answer. Doubling it roughly doubles the activation memory.",
        ),
    ),
    Field(
        name="pack_to_max_length",
        kind="bool",
        group="data",
        places=("train_dataloader.dataset.pack_to_max_length", "pack_to_max_length"),
        applies=method.one_dataset,
        default=True,
        label=Text("打包成长序列", "Pack rows"),
        help=Text(
            "把多条短样本接成一条长序列，数据多时更快；样本又少又短时，几十条并成一条，更新次数所剩无几。",
            "Joins short rows into long sequences: faster for large datasets. With few short rows, dozens become one sequence and hardly any updates remain.",
        ),
    ),
    Field(
        name="batch_size",
        kind="int",
        group="learning",
        places=("train_dataloader.batch_size", "batch_size"),
        least=1,
        most=4096,
        picks=(1, 2, 4, 8, 16, 32),
        label=Text("批大小（每卡）", "Batch size (per GPU)"),
        help=Text(
            "一次迭代看几条样本。加倍后每步更稳、迭代减半，激活显存也加倍：显存溢出时先减它。",
            "Rows per iteration. Doubling it makes updates steadier, halves the iterations and doubles the activation memory: lower it first if memory runs out.",
        ),
    ),
    Field(
        name="accumulative_counts",
        kind="int",
        group="learning",
        places=("optim_wrapper.accumulative_counts", "accumulative_counts"),
        least=1,
        most=4096,
        picks=(1, 2, 4, 8, 16),
        label=Text("梯度累积", "Gradient accumulation"),
        help=Text(
            "几次迭代才更新一次参数，不占显存。16 意味着 96 次迭代只更新 6 次：数据少时设为 1，否则学不会。",
            "Iterations per optimizer update; costs no memory. With 16, 96 iterations make only 6 updates: for small datasets use 1, or nothing is learned.",
        ),
    ),
    Field(
        name="max_epochs",
        kind="int",
        group="learning",
        places=("train_cfg.max_epochs", "max_epochs"),
        least=1,
        most=10_000,
        picks=(1, 2, 3, 5, 10),
        applies=lambda config: config.get("train_cfg.max_epochs") is not MISSING,
        label=Text("训练轮数", "Epochs"),
        help=Text(
            "整个数据集看几遍，时间随之成倍。太少学不会；几条样本重复太多遍，模型会对什么问题都答这几句。",
            "How many times the dataset is seen; training time grows with it. Too few teach nothing; with too many, a few rows become the answer to every question.",
        ),
    ),
    Field(
        name="lr",
        kind="float",
        group="learning",
        places=("optim_wrapper.optimizer.lr", "lr"),
        least=1e-8,
        most=0.1,
        picks=(1e-5, 2e-5, 1e-4, 2e-4, 4e-4, 1e-3),
        label=Text("学习率", "Learning rate"),
        help=Text(
            "每次更新走多大一步。太大时损失乱跳甚至变成 NaN，太小时学不会。LoRA 用 1e-4 到 1e-3，全量微调用 1e-5 到 5e-5。",
            "The step size. Too large and the loss jumps or becomes NaN; too small and nothing is learned. LoRA: 1e-4 to 1e-3; full fine-tuning: 1e-5 to 5e-5.",
        ),
    ),
    Field(
        name="r",
        kind="int",
        group="adapter",
        places=("model.lora.r", "lora.r"),
        least=1,
        most=1024,
        picks=(8, 16, 32, 64, 128),
        label=Text("LoRA 秩 r", "LoRA rank r"),
        help=Text(
            "适配器能记多少：16 够学一个身份，64 以上用于新知识。加倍则适配器文件和优化器状态加倍。",
            "The adapter's capacity: 16 is enough for an identity, 64 or more for knowledge. Doubling it doubles the file size and the optimizer's memory.",
        ),
    ),
    Field(
        name="lora_alpha",
        kind="int",
        group="adapter",
        places=("model.lora.lora_alpha", "lora.lora_alpha"),
        least=1,
        most=4096,
        picks=(16, 32, 64, 128),
        label=Text("LoRA alpha", "LoRA alpha"),
        help=Text(
            "适配器的力度是 alpha / r：调大 r 而不调 alpha，适配器反而变弱。常取 r 的两倍。",
            "The adapter is scaled by alpha / r: a larger r with the same alpha weakens it. Commonly 2 × r.",
        ),
    ),
    Field(
        name="lora_dropout",
        kind="float",
        group="adapter",
        places=("model.lora.lora_dropout", "lora.lora_dropout"),
        least=0.0,
        most=0.9,
        picks=(0.0, 0.05, 0.1),
        label=Text("LoRA dropout", "LoRA dropout"),
        help=Text(
            "训练时随机关掉的比例，防止死记硬背；更新次数少时设 0 或 0.05，否则学得更慢。",
            "The fraction dropped at random, to reduce memorization. With few updates use 0 or 0.05, or learning slows down.",
        ),
    ),
    Field(
        name="quantisation",
        kind="choice",
        group="adapter",
        label=Text("权重量化", "Quantization"),
        help=Text(
            "nf4 把原权重压到 4 比特，显存最省，每步略慢；int8 居中；none 不压缩。量化要 CUDA，也不能用于全量微调。",
            "nf4 stores the weights in 4 bits: least memory, slightly slower. int8 is in between; none keeps full precision. Requires CUDA and an adapter.",
        ),
        options=lambda: method.QUANTISATIONS,
        look=method.quantisation,
        edits=method.to_quantisation,
        default="none",
    ),
    Field(
        name="save_steps",
        kind="int",
        group="watch",
        places=("default_hooks.checkpoint.interval", "save_steps"),
        least=1,
        most=1_000_000,
        picks=(20, 50, 100, 500),
        label=Text("保存间隔（迭代）", "Checkpoint every (iterations)"),
        help=Text(
            "大于总迭代数就只在最后存一次：途中出错要从头再来，也不能选更早的检查点。",
            "If larger than the total, there is only one checkpoint, at the end: after a crash training restarts from scratch, and there is no earlier checkpoint to choose.",
        ),
    ),
    Field(
        name="evaluation_freq",
        kind="int",
        group="watch",
        places=(f"{HOOK}.every_n_iters", "evaluation_freq"),
        least=1,
        most=1_000_000,
        picks=(10, 20, 50, 100, 500),
        label=Text("评测间隔（迭代）", "Evaluate every (iterations)"),
        help=Text(
            "每隔多少次迭代让模型当场回答评测问题。太密拖慢训练，大于总迭代数就看不到它怎么学会的。",
            "How often the model answers the evaluation questions. Too often slows training; if larger than the total, you do not see it learn.",
        ),
    ),
    Field(
        name="evaluation_inputs",
        kind="list",
        group="watch",
        places=(f"{HOOK}.evaluation_inputs", "evaluation_inputs"),
        default=[],
        label=Text("评测问题", "Evaluation questions"),
        help=Text(
            "训练前、途中和训练后都会问，每行一个。放一个与训练数据无关的问题，可以看出它有没有变成复读机。",
            "Asked before, during and after training, one per line. Include one that is not in the data, to see whether the model only parrots.",
        ),
    ),
    Field(
        name="SYSTEM",
        kind="text",
        group="watch",
        look=_system,
        edits=_to_system,
        default="",
        label=Text("系统提示词", "System prompt"),
        help=Text(
            "只用于评测。应与训练数据和对话里的一致（本应用都留空），否则评测看到的不是对话时的模型。",
            "Used for evaluation only. It should match the data and the chat (empty here); otherwise the evaluation does not reflect the model you will talk to.",
        ),
    ),
    Field(
        name="seed",
        kind="int",
        group="watch",
        places=("randomness.seed",),
        optional=True,
        least=0,
        most=2**31 - 1,
        picks=(42,),
        label=Text("随机种子", "Seed"),
        help=Text(
            "固定后，同样的配置得到几乎同样的结果；不填则每次不同，出了好结果也难重现。",
            "With a fixed seed the same config gives nearly the same result; if empty, every run differs and a good one is hard to reproduce.",
        ),
    ),
)
ADVANCED = (
    Field(
        name="precision",
        kind="choice",
        group="learning",
        advanced=True,
        label=Text("计算精度", "Precision"),
        help=Text(
            "bf16 不易溢出，A100 及更新的显卡、会算 bf16 的处理器都可以用；fp16 用于更老的显卡；fp32 慢一倍左右、多占内存，其他处理器只能用它。",
            "bf16 does not overflow: for A100 and newer, and for processors that multiply it. fp16 for older GPUs. fp32 is about twice as slow and needs more memory; on other processors it is the only choice.",
        ),
        options=lambda: method.PRECISIONS,
        look=method.precision,
        edits=method.to_precision,
    ),
    Field(
        name="attn_implementation",
        kind="choice",
        group="machine",
        places=("model.llm.attn_implementation",),
        optional=True,
        advanced=True,
        options=lambda: ("eager", "sdpa", "flash_attention_2"),
        label=Text("注意力实现", "Attention"),
        help=Text(
            "eager 的显存随长度平方增长（2048 token 时每层约 0.5 GB）；sdpa 省得多，模型代码要支持；flash_attention_2 需要另装"
            " flash-attn。不填时由 XTuner 决定，InternLM2 为 eager。",
            "eager memory grows quadratically with length (about 0.5 GB per layer at 2048 tokens). sdpa needs far less if the model's code supports it; flash_attention_2 requires the flash-attn package. Empty: XTuner's choice, which is eager for InternLM2.",
        ),
    ),
    Field(
        name="use_activation_checkpointing",
        kind="bool",
        group="machine",
        places=("model.use_activation_checkpointing",),
        applies=lambda config: config.get("model.llm") is not MISSING,
        default=True,
        advanced=True,
        label=Text("激活检查点", "Activation checkpointing"),
        help=Text(
            "不存中间结果、反向时重算：省下大部分激活显存，每步慢三成左右。显存够就关掉。",
            "Recomputes activations instead of storing them: saves most of their memory, but each step is about a third slower. Turn off if memory is sufficient.",
        ),
    ),
    Field(
        name="target_modules",
        kind="list",
        group="adapter",
        places=("model.lora.target_modules", "lora.target_modules"),
        optional=True,
        advanced=True,
        # PEFT also accepts a regular expression, or all-linear.
        also=(str,),
        label=Text("适配的层", "Adapted layers"),
        help=Text(
            "LoRA 加在哪些线性层上，写层名的最后一段，例如 InternLM2 的 wqkv、wo。不填时是全部线性层，一般最好。"
            "名称因模型而异，写了模型没有的层会训练不了。",
            "Which linear layers get an adapter, by the last part of their names, such as wqkv and wo for InternLM2. Empty: all of them, which is usually best. Names differ between models; an unknown name stops the training.",
        ),
    ),
    Field(
        name="dataset_map_fn",
        kind="choice",
        group="data",
        places=(f"{method.DATASET}.dataset_map_fn",),
        applies=method.one_dataset,
        optional=True,
        advanced=True,
        options=map_functions,
        edits=method.to_map_function,
        label=Text("数据转换函数", "Row conversion"),
        help=Text(
            "把别的格式的数据行转成 XTuner 的对话。“数据集”页做的数据集已经是 XTuner 的格式，这里应当为空。",
            "Converts rows from other formats to XTuner's conversations. Datasets from the Dataset page are already in XTuner's format: leave empty.",
        ),
    ),
    Field(
        name="use_varlen_attn",
        kind="bool",
        group="data",
        places=("use_varlen_attn", "model.use_varlen_attn"),
        default=False,
        advanced=True,
        label=Text("变长注意力", "Varlen attention"),
        help=Text(
            "打包后各条样本互不可见。不开时，一条样本能看到同一包里更早的相同答案，损失靠抄下降。需要 flash-attn，批大小为 1。",
            "Prevents packed rows from seeing each other. Without it, a row can copy an answer from earlier in its pack, which lowers the loss without learning. Requires flash-attn and a batch size of 1.",
        ),
    ),
    Field(
        name="shuffle_before_pack",
        kind="bool",
        group="data",
        places=(f"{method.DATASET}.shuffle_before_pack",),
        applies=method.one_dataset,
        default=True,
        advanced=True,
        label=Text("打包前打乱", "Shuffle before packing"),
        help=Text(
            "每包里的样本来自各处，步与步之间更均匀；不打包时没有作用。",
            "Mixes rows from the whole dataset in each pack, which makes steps more uniform; no effect without packing.",
        ),
    ),
    Field(
        name="warmup_ratio",
        kind="float",
        group="learning",
        places=("warmup_ratio", "warm_up_ratio"),
        least=0.0,
        most=0.9,
        picks=(0.03, 0.05, 0.1),
        advanced=True,
        label=Text("预热比例", "Warmup ratio"),
        help=Text(
            "开头这部分迭代里学习率慢慢升高，避免一开始就学坏。乘上总迭代数后至少要有 2 次：不足 1 次时 XTuner 报错退出，只有 1 次时学习率一直停在起点。",
            "The learning rate rises during this fraction of the iterations, which protects the first steps. It must cover at least two iterations: with none XTuner crashes, with one the learning rate stays at its start value.",
        ),
    ),
    Field(
        name="weight_decay",
        kind="float",
        group="learning",
        places=("optim_wrapper.optimizer.weight_decay", "weight_decay"),
        least=0.0,
        most=1.0,
        picks=(0.0, 0.01, 0.1),
        advanced=True,
        label=Text("权重衰减", "Weight decay"),
        help=Text(
            "每步把权重往零拉一点，抑制过拟合；适配器通常用 0。",
            "Pulls the weights toward zero at each step, to reduce overfitting; usually 0 for an adapter.",
        ),
    ),
    Field(
        name="max_norm",
        kind="float",
        group="learning",
        places=("optim_wrapper.clip_grad.max_norm", "max_norm"),
        least=0.001,
        most=1000.0,
        picks=(0.3, 1.0),
        advanced=True,
        label=Text("梯度裁剪", "Gradient clipping"),
        help=Text(
            "梯度长度超过它就缩短到它。损失偶尔猛跳时调小；太小会学得很慢。",
            "Maximum gradient norm; longer gradients are scaled down. Lower it if the loss jumps; a very low value slows learning.",
        ),
    ),
    Field(
        name="max_iters",
        kind="int",
        group="learning",
        places=("train_cfg.max_iters",),
        applies=lambda config: config.get("train_cfg.max_iters") is not MISSING,
        least=1,
        most=10_000_000,
        advanced=True,
        label=Text("总迭代数", "Total iterations"),
        help=Text(
            "这份配置按迭代数而不是轮数训练：到这么多次就停，不管数据看了几遍。",
            "This config counts iterations instead of epochs: training stops after this many, no matter how often the data was seen.",
        ),
    ),
    Field(
        name="save_total_limit",
        kind="int",
        group="watch",
        places=("default_hooks.checkpoint.max_keep_ckpts", "save_total_limit"),
        least=-1,
        most=1000,
        picks=(-1, 1, 2, 3),
        advanced=True,
        label=Text("最多保留检查点", "Checkpoints kept"),
        help=Text(
            "超过时删最旧的，之后就不能再选它；-1 表示全部保留，注意磁盘。",
            "Beyond this number, the oldest is deleted and no longer available; -1 keeps all: watch the disk space.",
        ),
    ),
    Field(
        name="max_new_tokens",
        kind="int",
        group="watch",
        places=(f"{method.HOOK}.max_new_tokens",),
        least=1,
        most=4096,
        default=600,
        picks=(64, 96, 128, 600),
        advanced=True,
        label=Text("评测回答长度", "Evaluation answer length"),
        help=Text(
            "评测时每个回答最多多少 token。不会自己停下的模型每次都写满：600 token 在 1.8B 上要 20 秒左右。",
            "Maximum tokens per answer. A model that does not stop uses all of them: 600 tokens take a 1.8B model about 20 s.",
        ),
    ),
    Field(
        name="log_interval",
        kind="int",
        group="watch",
        places=("default_hooks.logger.interval",),
        least=1,
        most=10_000,
        default=10,
        picks=(1, 10),
        advanced=True,
        label=Text("记录间隔（迭代）", "Log every (iterations)"),
        help=Text(
            "损失曲线每隔多少次迭代一个点。短训练用 1，否则曲线上只有几个点。",
            "Iterations per point of the loss curve. For short runs use 1, or the curve has only a few points.",
        ),
    ),
    Field(
        name="map_num_proc",
        kind="int",
        group="machine",
        places=(f"{method.DATASET}.map_num_proc",),
        applies=method.one_dataset,
        least=1,
        most=256,
        default=32,
        picks=(1, 2, 4, 32),
        advanced=True,
        label=Text("数据处理进程数", "Data processes"),
        help=Text(
            "几千行以内用 1 最快：默认的 32 个进程在 2 核机器上光启动就要 15 秒，打包时还会把数据切成 32 段。",
            "Up to a few thousand rows, 1 is fastest: starting the default 32 takes 15 s on 2 cores, and packing then works on 32 separate parts.",
        ),
    ),
    Field(
        name="dataloader_num_workers",
        kind="int",
        group="machine",
        places=("train_dataloader.num_workers", "dataloader_num_workers"),
        least=0,
        most=64,
        picks=(0, 2, 4),
        advanced=True,
        label=Text("读数据的进程数", "Loader processes"),
        help=Text(
            "0 表示由训练进程自己读。数据已在内存里，多开通常只会多占内存。",
            "0: the training process loads the data itself. The data is already in memory, so more processes mostly cost memory.",
        ),
    ),
)
FIELDS = (*ESSENTIAL, *ADVANCED)
BY_NAME = {field.name: field for field in FIELDS}
