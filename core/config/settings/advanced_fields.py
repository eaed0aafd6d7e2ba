"""The settings that few need to change, each with what follows from its value."""

from core.config.settings import method
from core.config.settings.field import Field
from core.engine.config_file import MISSING
from core.ground.text import Text

_DATASET = method.DATASET

ADVANCED = (
    Field(
        name="precision",
        kind="choice",
        group="learning",
        advanced=True,
        label=Text("计算精度", "Precision"),
        help=Text(
            "bf16 不易溢出，A100 及更新的显卡都支持；fp16 用于更老的显卡；fp32 慢一倍以上、多占显存，没有显卡时只能用它。",
            "bf16 does not overflow: A100 and newer. fp16 for older cards. fp32 is at least twice as slow and takes "
            "more memory; without a GPU it is the only one.",
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
            "The memory of eager grows with the square of the length (about 0.5 GB a layer at 2048 tokens). sdpa takes "
            "far less where the model's code has it; flash_attention_2 needs the flash-attn package. Empty: XTuner's "
            "choice, which is eager for InternLM2.",
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
            "Works the activations out again instead of keeping them: saves most of their memory, each step about a "
            "third slower. Switch it off where memory is enough.",
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
            "Keeps packed rows from seeing each other. Without it a row sees the same answer earlier in its pack, and "
            "the loss falls by copying. Needs flash-attn, and a batch size of 1.",
        ),
    ),
    Field(
        name="shuffle_before_pack",
        kind="bool",
        group="data",
        places=(f"{_DATASET}.shuffle_before_pack",),
        applies=method.one_dataset,
        default=True,
        advanced=True,
        label=Text("打包前打乱", "Shuffle before packing"),
        help=Text(
            "每包里的样本来自各处，步与步之间更均匀；不打包时没有作用。",
            "The rows of a pack then come from everywhere, so that steps are alike; without packing it does nothing.",
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
        label=Text("预热比例", "Warm-up share"),
        help=Text(
            "开头这部分迭代里学习率慢慢升高，避免一开始就学坏。乘上总迭代数后至少要有 2 次：不足 1 次时 XTuner 报错退出，只有 1 次时学习率一直停在起点。",
            "The learning rate climbs in this share of the iterations, so that the first steps do no harm. It must come "
            "to two at least: of none XTuner dies, with one the learning rate stays where it begins.",
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
            "Pulls the weights towards zero at each step, against overfitting; an adapter usually takes 0.",
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
            "A longer gradient is shortened to this. Lower it where the loss jumps now and then; very low learns slowly.",
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
        label=Text("总迭代数", "Iterations in all"),
        help=Text(
            "这份配置按迭代数而不是轮数训练：到这么多次就停，不管数据看了几遍。",
            "This config counts iterations rather than epochs: it stops after so many, however often the data was seen.",
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
            "The oldest is deleted beyond this and cannot be chosen any more; -1 keeps all: mind the disk.",
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
        label=Text("评测回答长度", "Longest evaluation answer"),
        help=Text(
            "评测时每个回答最多多少 token。不会自己停下的模型每次都写满：600 token 在 1.8B 上要 20 秒左右。",
            "Most tokens of an answer. A model that does not stop writes them all: 600 take a 1.8B model about 20 s.",
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
            "Iterations for a point of the loss curve. A short run takes 1, or the curve is a few points.",
        ),
    ),
    Field(
        name="map_num_proc",
        kind="int",
        group="machine",
        places=(f"{_DATASET}.map_num_proc",),
        applies=method.one_dataset,
        least=1,
        most=256,
        default=32,
        picks=(1, 2, 4, 32),
        advanced=True,
        label=Text("数据处理进程数", "Data processes"),
        help=Text(
            "几千行以内用 1 最快：默认的 32 个进程在 2 核机器上光启动就要 15 秒，打包时还会把数据切成 32 段。",
            "Up to some thousand rows 1 is fastest: starting the default 32 takes 15 s on 2 cores, and packing then "
            "works on 32 pieces.",
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
            "0: the training process reads by itself. The data is in memory already; more mostly take memory.",
        ),
    ),
)
