"""The edits that fit a config to this machine: to its GPU, as `fit` chose, or to its processor where there is none."""

from collections.abc import Iterator

from core.config.fit import Fit
from core.config.settings.edit import Edit
from core.config.settings.method import LLM, QUANTISATION, WRAPPER
from core.engine.config_file import MISSING, Source
from core.ground.text import Text

# A smaller model is trained in single precision on any processor: little time to save, and rounding costs it more.
LEAST_BF16 = 50_000_000


def fitted(fit: Fit) -> Iterator[Edit]:
    """Yield method, precision, attention and checkpointing for this machine's GPU."""
    if fit.method == "lora":
        yield Edit(path=QUANTISATION, value=MISSING, why=_joined("不必压缩", "no need to save memory", fit))
    half = f"torch.{fit.half}"
    why = Text("显卡支持 bf16，不易溢出", "the GPU supports bf16, which does not overflow")
    if fit.half == "bfloat16":
        yield Edit(path=f"{LLM}.torch_dtype", value=Source(half), why=why)
        if fit.method == "qlora":
            yield Edit(path=f"{QUANTISATION}.bnb_4bit_compute_dtype", value=Source(half), why=why)
        yield Edit(path=f"{WRAPPER}.dtype", value=fit.half, why=why)
        yield Edit(path=f"{WRAPPER}.loss_scale", value=MISSING, why=why)
    if not fit.checkpointing:
        why = _joined("显存够用，不必重算激活", "memory is sufficient: no recomputation needed", fit)
        yield Edit(path="model.use_activation_checkpointing", value=False, why=why)
    if fit.sdpa:
        why = Text("长序列上注意力的显存不再随平方增长", "its memory does not grow quadratically with length")
        yield Edit(path=f"{LLM}.attn_implementation", value="sdpa", why=why)


def _joined(zh: str, en: str, fit: Fit) -> Text:
    return Text(f"{zh}（{fit.why.zh}）", f"{en} ({fit.why.en})")


def plain(why: Text) -> Iterator[Edit]:
    """Yield single precision without quantization."""
    yield Edit(path=QUANTISATION, value=MISSING, why=why)
    yield Edit(path=f"{LLM}.torch_dtype", value=Source("torch.float32"), why=why)
    yield Edit(path=f"{WRAPPER}.type", value=Source("OptimWrapper"), why=why)
    yield Edit(path=f"{WRAPPER}.dtype", value=MISSING, why=why)
    yield Edit(path=f"{WRAPPER}.loss_scale", value=MISSING, why=why)


def without_gpu(*, bf16: bool) -> Iterator[Edit]:
    """Yield what XTuner needs on a machine without a GPU: single precision, or `bf16` for an adapter beside frozen weights."""
    if bf16:
        why = Text(
            "没有显卡，但这台机器的处理器会算 bf16：时间约省四成",
            "no GPU, but this processor multiplies bf16: takes about 0.6 of the time",
        )
        yield Edit(path=QUANTISATION, value=MISSING, why=why)
        yield Edit(path=f"{LLM}.torch_dtype", value=Source("torch.bfloat16"), why=why)
        yield Edit(path=f"{WRAPPER}.dtype", value="bfloat16", why=why)
        yield Edit(path=f"{WRAPPER}.loss_scale", value=MISSING, why=why)
        why = Text(
            "PyTorch 另一种注意力的 bf16 反向在处理器上很慢",
            "PyTorch's other attention has a slow backward pass in bf16 on a processor",
        )
        yield Edit(path=f"{LLM}.attn_implementation", value="eager", why=why)
    else:
        yield from plain(
            Text("没有显卡：4 比特量化和混合精度都要 CUDA", "no GPU: 4-bit weights and mixed precision need CUDA")
        )
    yield Edit(
        path="env_cfg.dist_cfg.backend", value="gloo", why=Text("没有显卡：NCCL 要 CUDA", "no GPU: NCCL needs CUDA")
    )
