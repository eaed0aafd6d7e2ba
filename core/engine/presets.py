"""XTuner's own files, located without importing XTuner: presets, prompt templates, map functions.

Only reads them; what a config means and how it is edited is for `config_file`.
"""

import ast
import fnmatch
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from core.ground.errors import BadInput, WorkFailed

COURSE_PRESET = "internlm2_chat_1_8b_qlora_alpaca_e3"
# The keys of an XTuner prompt template.
TEMPLATE_KEYS = ("SYSTEM", "INSTRUCTION", "SUFFIX", "SEP", "STOP_WORDS", "SUFFIX_AS_EOS")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """How XTuner wraps a turn, as text, not tokens.

    `system` and `instruction` are format strings of `{system}` and `{input}`. `name` is XTuner's, None for a template
    written out in a config. `bos` and `eos` are the tokenizer's; XTuner puts them between rounds when the suffix does
    not end an answer.
    """

    name: str | None = None
    system: str = "{system}"
    instruction: str = "{input}"
    suffix: str = ""
    sep: str = ""
    stop_words: tuple[str, ...] = ()
    suffix_as_eos: bool = False
    bos: str = ""
    eos: str = ""

    def prompt(self, turns: Sequence[tuple[str, str | None]], system: str = "") -> str:
        """Return the text before the answer: `turns` of (question, answer), the last answer being None.

        The same text that XTuner's `encode_fn` and `EvaluateChatHook` produce; the leading special tokens are added
        during tokenization. Raises BadInput for a custom template that cannot be filled in.
        """
        text = _filled(self.system, system=system) if system else ""
        for number, (question, answer) in enumerate(turns, 1):
            text += _filled(self.instruction, input=question, round=number)
            if answer is not None:
                text += answer + self.suffix + ("" if self.suffix_as_eos else self.eos) + self.sep
                if number < len(turns) and not self.suffix_as_eos:
                    text += self.bos
        return text

    def same(self, other: "PromptTemplate") -> bool:
        """Return whether both wrap every turn alike, whatever their names and stop words."""
        mine, others = self.parts, other.parts
        return all(mine[key] == others[key] for key in mine if key != "STOP_WORDS")

    @property
    def parts(self) -> dict[str, Any]:
        """The template's keys as XTuner writes them."""
        return {
            "SYSTEM": self.system,
            "INSTRUCTION": self.instruction,
            "SUFFIX": self.suffix,
            "SUFFIX_AS_EOS": self.suffix_as_eos,
            "SEP": self.sep,
            "STOP_WORDS": list(self.stop_words),
        }

    @property
    def code(self) -> str:
        """The template's Python code in a config."""
        if self.name is not None:
            return f"PROMPT_TEMPLATE.{self.name}"
        return f"dict({', '.join(f'{key}={value!r}' for key, value in self.parts.items())})"

    @property
    def title(self) -> str:
        """Its name in a list of choices, in both languages."""
        return self.name or "自定义 custom"

    @property
    def label(self) -> str:
        """XTuner's name, else the instruction."""
        return self.name or repr(self.instruction)

    @classmethod
    def of(cls, name: str | None, keys: Mapping[str, Any]) -> "PromptTemplate":
        """Create a template from XTuner's keys: `SYSTEM`, `INSTRUCTION`, `SUFFIX`, `SEP`, `STOP_WORDS`, …"""
        given = {key.lower(): value for key, value in keys.items() if key in TEMPLATE_KEYS}
        return cls.from_json({**given, "name": name})

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "PromptTemplate":
        names = ("name", "bos", "eos", *map(str.lower, TEMPLATE_KEYS))
        known = {key: written[key] for key in names if written.get(key) is not None}
        return cls(**{**known, "stop_words": tuple(known.get("stop_words", ()))})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "stop_words": list(self.stop_words)}


def _filled(text: str, **words: Any) -> str:
    try:
        return text.format(**words)
    except (LookupError, ValueError, AttributeError) as error:
        raise BadInput(
            f"对话模板 {text!r} 里的花括号无法填写（{error}）：花括号本身要写成 {{{{ 和 }}}}",
            f"the prompt template {text!r} cannot be filled in ({error}): write a literal brace as {{{{ or }}}}",
        ) from error


@cache
def xtuner_directory() -> Path:
    """Return the directory of the installed xtuner package. Raises WorkFailed if it is not installed."""
    spec = importlib.util.find_spec("xtuner")
    if spec is None or not spec.submodule_search_locations:
        raise WorkFailed(
            "未安装 xtuner：请运行 make run 安装依赖", "xtuner is not installed: run make run to install it"
        )
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def presets(xtuner: Path | None = None) -> dict[str, Path]:
    """Return the name and file of every preset config of the installed XTuner, or of the one at `xtuner`."""
    found = (xtuner or xtuner_directory()) / "configs"
    return {path.stem: path for path in sorted(found.rglob("*.py")) if not path.name.startswith("_")}


@cache
def deepspeed_settings() -> tuple[str, ...]:
    """Return the names of XTuner's DeepSpeed settings: `deepspeed_zero1`, `deepspeed_zero2`, …"""
    return tuple(path.stem for path in sorted((xtuner_directory() / "configs" / "deepspeed").glob("*.json")))


def check_deepspeed(name: str | None) -> None:
    """Raise BadInput for DeepSpeed settings that XTuner does not have."""
    if name is not None and name not in deepspeed_settings():
        raise BadInput(
            f"没有 DeepSpeed 设置 {name}：可用 {'、'.join(deepspeed_settings())}",
            f"there are no DeepSpeed settings {name}: use one of {', '.join(deepspeed_settings())}",
        )


@cache
def zero_settings(name: str) -> tuple[int, bool, bool]:
    """Return (ZeRO stage, optimizer states offloaded, weights offloaded) of one of XTuner's DeepSpeed settings."""
    path = xtuner_directory() / "configs" / "deepspeed" / f"{name}.json"
    zero = json.loads(path.read_text(encoding="utf-8"))["zero_optimization"]
    return int(zero["stage"]), "offload_optimizer" in zero, "offload_param" in zero


def zero_divisors(stage: int, processes: int) -> tuple[int, ...]:
    """Return by how many processes a ZeRO stage divides the optimizer states, the gradients and the weights.

    Rajbhandari et al. 2020, §3: stage 1 partitions the first of them, 2 also the second, 3 all.
    """
    return tuple(processes if stage >= least else 1 for least in (1, 2, 3))


def matching(pattern: str | None, xtuner: Path | None = None) -> list[str]:
    """Return the presets whose name contains `pattern`, or matches it as a wildcard; all without a pattern."""
    if not pattern:
        return list(presets(xtuner))
    wanted = pattern.lower()
    return [name for name in presets(xtuner) if wanted in name.lower() or fnmatch.fnmatch(name.lower(), wanted)]


def preset_text(name: str, xtuner: Path | None = None) -> str:
    """Return the Python text of a preset. Raises BadInput for a name that XTuner does not have."""
    path = presets(xtuner).get(name)
    if path is None:
        raise BadInput(
            f"没有名为 {name} 的预设：用 python -m core configs list -p internlm2 查看可用的预设",
            f"there is no preset {name}: run python -m core configs list -p internlm2",
        )
    return path.read_bytes().decode("utf-8")


@cache
def map_functions() -> tuple[str, ...]:
    """Return XTuner's functions that map rows of a format to conversations: `alpaca_map_fn`, `openai_map_fn`, …"""
    init = xtuner_directory() / "dataset" / "map_fns" / "dataset_map_fns" / "__init__.py"
    names = re.findall(r"^from \.\w+ import (\w.*)$", init.read_text(encoding="utf-8"), re.M)
    return tuple(sorted(name for line in names for name in re.findall(r"\w+_map_fn\b", line)))


@cache
def system_templates() -> dict[str, str]:
    """Return XTuner's system prompts by name: `SYSTEM_TEMPLATE = ConfigDict(…)` in its `utils/templates.py`."""
    return {name: text for name, text in _templates("SYSTEM_TEMPLATE").items() if isinstance(text, str)}


def _templates(variable: str) -> dict[str, Any]:
    """Return the keyword arguments of `variable = ConfigDict(…)` in XTuner's templates, `dict(…)` calls as dicts."""
    tree = ast.parse((xtuner_directory() / "utils" / "templates.py").read_text(encoding="utf-8"))
    call = next(
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable
    )
    return {keyword.arg: _literal(keyword.value) for keyword in call.keywords}


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "dict":
        return {part.arg: _literal(part.value) for part in node.keywords}
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


@cache
def prompt_templates() -> dict[str, PromptTemplate]:
    """Return XTuner's prompt templates: `PROMPT_TEMPLATE = ConfigDict(…)` in its `utils/templates.py`."""
    return {name: PromptTemplate.of(name, keys) for name, keys in _templates("PROMPT_TEMPLATE").items()}
