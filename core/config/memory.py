"""The memory of a run, by formula: weights, copies, adapter, optimizer, activations, logits.

The bytes that a layer keeps per token were measured on XTuner's InternLM2 with hooks on what autograd saves (mixed
precision: 2 bytes per value, some 4; single precision: 4), and checked against runs on a GPU: `docs/preflight.md`.
"""

from dataclasses import dataclass, replace
from typing import Any

from core.config.settings.method import LLM, LORA_RANK, WRAPPER, method, precision, quantisation
from core.engine.config_file import ConfigFile, Source
from core.engine.presets import zero_divisors, zero_settings
from core.ground.figures import MB, size_of_mb
from core.ground.text import Text
from core.models.shape import Shape

# Bytes kept per token and layer, as (times hidden size, times intermediate size): adapter with dropout, adapter
# without, full fine-tuning.
_MIXED = {"dropout": (38.5, 12.0), "adapter": (22.5, 8.0), "full": (30.2, 8.0)}
_SINGLE = {"dropout": (53.0, 20.0), "adapter": (33.0, 16.0), "full": (40.4, 16.0)}
# Bytes kept per pair of positions and head by eager attention.
_PAIR_MIXED, _PAIR_SINGLE = 6.0, 4.0
# Bytes per logit at the peak: itself, shifted, and its log-softmax, in single precision. If the base model's answers are
# kept (`workers.keeping`): itself, which its gradient replaces, as computed before it was widened, and the base model's;
# and the pieces that are compared at a time.
_LOGIT, _KEPT_LOGIT, _KEPT_PIECES_MB = 12.0, 8.0, 100.0
# 4 bits and, with double quantization, a scale per 64 weights.
_NF4, _INT8 = 0.516, 1.03
_ADAM = {"AdamW": 8.0, "Adam": 8.0, "SGD": 0.0, "PagedAdamW": 8.0, "PagedAdamW32bit": 8.0, "PagedAdamW8bit": 2.0}
# Memory of CUDA and its libraries before any allocation.
CUDA_MB = 550.0
# Memory of torch, transformers and XTuner in a process without a GPU, before the model.
PROCESS_MB = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the memory: its name, its formula, and the result in MB."""

    name: str
    label: Text
    formula: str
    mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The parts at the peak of a training step, and `base_mb`: the memory without a model."""

    parts: tuple[Part, ...]
    base_mb: float
    cuda: bool

    @property
    def allocated_mb(self) -> float:
        """Memory allocated by the training itself: on a GPU, `memory` in XTuner's log."""
        return sum(part.mb for part in self.parts)

    @property
    def total_mb(self) -> float:
        return self.base_mb + self.allocated_mb


def memory(shape: Shape, facts: dict[str, Any], *, cuda: bool) -> Memory:
    """Return the memory of training a model of this shape. `facts` are `config_facts`."""
    setup, longest = Setup.of(facts, cuda=cuda), facts["data"]["longest"]
    return at_peak(shape, setup, facts["batch_size"], longest, kept=bool(facts.get("keeps")), cuda=cuda)


def at_peak(
    shape: Shape, setup: "Setup", batch_size: int, longest: int, *, kept: bool = False, cuda: bool = True
) -> Memory:
    """Return the same for a setup and a micro-batch of `longest` tokens; `kept`: the base model's answers are."""
    tokens = batch_size * longest
    parts = [*_weights(shape, setup), *_trained(shape, setup)]
    at_layers, at_logits = _activations(shape, setup, tokens, longest)
    logits = _logits(tokens, shape.vocabulary, kept=kept)
    # With checkpointing a layer is recomputed after the logits are freed: the peak is the larger of the two.
    parts += [at_logits, logits] if at_logits.mb + logits.mb >= at_layers.mb else [at_layers]
    return Memory(parts=tuple(parts), base_mb=CUDA_MB if cuda else PROCESS_MB, cuda=cuda)


def _logits(tokens: int, vocabulary: int, *, kept: bool) -> Part:
    each = _KEPT_LOGIT if kept else _LOGIT
    formula = f"{tokens:,} × {vocabulary:,} × {each:g} B"
    return Part(
        name="logits",
        label=Text("logits（每个 token 对整个词表）", "logits (each token × vocabulary)"),
        formula=formula + (f" + {size_of_mb(_KEPT_PIECES_MB)}" if kept else ""),
        mb=tokens * vocabulary * each / MB + (_KEPT_PIECES_MB if kept else 0.0),
    )


def held(shape: Shape, setup: "Setup") -> tuple[float, float]:
    """Return what a process holds throughout training, in bytes on its GPU and on the host.

    That is weights, gradients and optimizer states. Activations, which come and go with each step, are only in
    `memory`.
    """
    everything = _held_bytes(shape, replace(setup, offloaded=(False, False, False)))
    on_gpu = _held_bytes(shape, setup)
    return on_gpu, everything - on_gpu


def _held_bytes(shape: Shape, setup: "Setup") -> float:
    return sum(part.mb for part in (*_weights(shape, setup), *_trained(shape, setup))) * MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The values of a config that determine the memory."""

    rank: int
    dropout: float
    bits: int | None
    mixed: bool
    weight_bytes: float
    deepspeed: bool
    # The shares of the optimizer states, gradients and weights that ZeRO leaves to a process.
    divided: tuple[float, float, float]
    # Which of these three are kept in the host's memory instead of the GPU's.
    offloaded: tuple[bool, bool, bool]
    checkpointing: bool
    attention: str | None
    optimizer: str

    @property
    def on_gpu(self) -> tuple[float, ...]:
        """The shares of the three on a process's GPU."""
        return tuple(0.0 if away else share for share, away in zip(self.divided, self.offloaded, strict=True))

    @classmethod
    def of(cls, facts: dict[str, Any], *, cuda: bool) -> "Setup":
        model = facts["model"]
        llm, lora = model.get("llm") or {}, model.get("lora") or {}
        quantised = llm.get("quantization_config") or {}
        bits = 4 if quantised.get("load_in_4bit") else 8 if quantised.get("load_in_8bit") else None
        named = str((llm.get("torch_dtype") or {}).get("$name", "")) if isinstance(llm.get("torch_dtype"), dict) else ""
        half = named.endswith(("float16", "bfloat16"))
        # DeepSpeed casts the complete model, and needs no autocast.
        deepspeed = cuda and bool(facts.get("deepspeed"))
        divided, offloaded = _divided(facts) if deepspeed else ((1.0, 1.0, 1.0), (False, False, False))
        return cls(
            rank=int(lora.get("r") or 0),
            dropout=float(lora.get("lora_dropout") or 0),
            bits=bits,
            mixed=cuda and (deepspeed or facts["wrapper"] != "OptimWrapper"),
            # With an adapter, XTuner keeps what is not quantized in single precision; a model all in bf16 is left as it is.
            weight_bytes=2 if deepspeed or (half and not lora) or (named.endswith("bfloat16") and not bits) else 4,
            deepspeed=deepspeed,
            divided=divided,
            offloaded=offloaded,
            checkpointing=model.get("use_activation_checkpointing", True),
            attention=llm.get("attn_implementation"),
            optimizer=facts["optimizer"]["type"],
        )

    @classmethod
    def written(cls, config: ConfigFile, *, deepspeed: str | None = None, processes: int = 1) -> "Setup":
        """Return the setup for training on GPUs from the text of a config, without building it as `of` requires."""
        dtype, rank = config.get(f"{LLM}.torch_dtype"), config.get("model.lora.r")
        dropout = config.get("model.lora.lora_dropout")
        bits, attention = quantisation(config), config.get(f"{LLM}.attn_implementation")
        return cls.of(
            {
                "model": {
                    "llm": {
                        "torch_dtype": {"$name": dtype.code} if isinstance(dtype, Source) else None,
                        "quantization_config": {"load_in_4bit": bits == "nf4", "load_in_8bit": bits == "int8"},
                        "attn_implementation": attention if isinstance(attention, str) else None,
                    },
                    "lora": {
                        "r": rank if isinstance(rank, int) else LORA_RANK,
                        "lora_dropout": float(dropout) if isinstance(dropout, int | float) else 0.0,
                    }
                    if method(config) != "full"
                    else None,
                    "use_activation_checkpointing": config.get("model.use_activation_checkpointing") is not False,
                },
                "wrapper": "OptimWrapper" if precision(config) == "fp32" else "AmpOptimWrapper",
                "optimizer": {"type": getattr(config.get(f"{WRAPPER}.optimizer.type"), "code", "").rpartition(".")[2]},
                "deepspeed": deepspeed,
                "processes": processes,
            },
            cuda=True,
        )


def _divided(facts: dict[str, Any]) -> tuple[tuple[float, float, float], tuple[bool, bool, bool]]:
    """Return ZeRO's shares per process, and whether they are on the host: optimizer states, gradients, weights."""
    stage, offload_optimizer, offload_weights = zero_settings(facts["deepspeed"])
    optimizer, gradients, weights = (1 / divisor for divisor in zero_divisors(stage, facts.get("processes", 1)))
    return (optimizer, gradients, weights), (offload_optimizer, False, offload_weights)


def _weights(shape: Shape, setup: Setup) -> list[Part]:
    rest = shape.head + shape.embedding + shape.other
    if setup.bits:
        each = _NF4 if setup.bits == 4 else _INT8
        whole = 2 if setup.deepspeed else 4
        formula = f"{shape.linear:,} × {each:g} B + {rest:,} × {whole} B"
        size = shape.linear * each + rest * whole
    else:
        size = (shape.linear + rest) * setup.weight_bytes
        formula = f"{shape.parameters:,} × {setup.weight_bytes:g} B"
    share = setup.on_gpu[2]
    formula += f" × {share:g}" if share != 1 else ""
    parts = [Part(name="weights", label=Text("模型权重", "weights"), formula=formula, mb=size * share / MB)]
    if setup.mixed and setup.weight_bytes == 4:
        # Autocast's half-precision copies live until the backward pass; with checkpointing, one layer at a time.
        kept = 0 if setup.bits else shape.linear
        if setup.checkpointing and setup.rank:
            kept //= shape.layers
        copies = kept + shape.head
        label = Text("半精度副本", "half-precision copies")
        parts.append(Part(name="copies", label=label, formula=f"{copies:,} × 2 B", mb=copies * 2 / MB))
    return parts


def _trained(shape: Shape, setup: Setup) -> list[Part]:
    states = _ADAM.get(setup.optimizer, 8.0)
    optimizer, gradients, _ = setup.on_gpu
    if setup.rank:
        count, each = shape.trained(setup.rank), 4.0
        weights, what = f"{each:g} + ", f"{shape.lora_per_rank:,} × r {setup.rank}"
        label = Text("适配器、梯度和优化器", "adapter, gradients, optimizer")
    else:
        count, each = shape.parameters, setup.weight_bytes
        # DeepSpeed's optimizer works in single precision, on its own copy.
        states = states + 4 if setup.deepspeed else states * each / 4
        weights, what = "", f"{count:,}"
        label = Text("梯度和优化器", "gradients, optimizer")
    kept = each * gradients + states * optimizer
    formula = f"{what} × ({weights}{each * gradients:g} + {states * optimizer:g}) B"
    size = count * (kept + each) if setup.rank else count * kept
    return [Part(name="trained", label=label, formula=formula, mb=size / MB)]


def _activations(shape: Shape, setup: Setup, tokens: int, longest: int) -> tuple[Part, Part]:
    """Return the activations during the layers, and during the logits; the same without checkpointing."""
    kind = "full" if not setup.rank else "dropout" if setup.dropout else "adapter"
    hidden, intermediate = (_MIXED if setup.mixed else _SINGLE)[kind]
    eager = (setup.attention or shape.attention) == "eager"
    pair = (_PAIR_MIXED if setup.mixed else _PAIR_SINGLE) if eager else 0.0
    layer = hidden * shape.hidden + intermediate * shape.intermediate + pair * shape.heads * longest
    label = Text("激活", "activations")
    if not setup.checkpointing:
        formula = f"{tokens:,} × {shape.layers} × {layer:,.0f} B"
        part = Part(name="activations", label=label, formula=formula, mb=tokens * shape.layers * layer / MB)
        return part, part
    kept = tokens * shape.layers * 4 * shape.hidden
    formula = f"{tokens:,} × {shape.layers} × 4 × {shape.hidden} B"
    one = f" + {tokens:,} × {layer:,.0f} B"
    return (
        Part(name="activations", label=label, formula=formula + one, mb=(kept + tokens * layer) / MB),
        Part(name="activations", label=label, formula=formula, mb=kept / MB),
    )
