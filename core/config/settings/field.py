"""A setting of a config: XTuner's name, its place in the file, its valid values, its texts.

A setting's value is stored only in the config file. The settings are listed in `fields`.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from core.config.settings.edit import put
from core.config.settings.method import Changes
from core.engine.config_file import MISSING, ConfigFile, Source
from core.ground.errors import BadInput
from core.ground.text import Text

Group = Literal["task", "data", "learning", "adapter", "watch", "machine"]
_TYPES = {"int": int, "float": float, "bool": bool, "text": str, "list": list, "choice": str}
_KINDS = {
    "int": Text("整数", "an integer"),
    "float": Text("数", "a number"),
    "bool": Text("True 或 False", "True or False"),
    "text": Text("文字", "text"),
    "list": Text("非空的文字列表", "a list of non-empty strings"),
    "choice": Text("下列之一", "one of these"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One setting.

    `places` are paths in the config file, the one that training reads first; the first that exists is used, and if its
    value comes from a variable, the variable. A setting with more than one place has `look` and `edits`.
    """

    name: str
    kind: Literal["int", "float", "bool", "text", "list", "choice"]
    label: Text
    help: Text
    group: Group
    places: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    advanced: bool = False
    # XTuner's default if the file does not set it.
    default: Any = None
    # Whether it may be empty: the file then says None.
    optional: bool = False
    # Common values to pick from.
    picks: tuple[Any, ...] = ()
    # Other types that XTuner accepts, which a form cannot edit.
    also: tuple[type, ...] = ()
    # The options of a choice, by name.
    options: Callable[[], tuple[str, ...]] = field(default=tuple)
    look: Callable[[ConfigFile], Any] | None = None
    edits: Callable[[ConfigFile, Any], Changes] | None = None
    # Whether this kind of config has the setting.
    applies: Callable[[ConfigFile], bool] = field(default=lambda _: True)

    def place(self, config: ConfigFile) -> str | None:
        """Return the path of this setting in `config`; None if there is none."""
        if not self.applies(config):
            return None
        for path in self.places:
            if config.get(path) is not MISSING:
                variable = config.names(path)
                if variable or not config.computed(path):
                    return variable or path
        return next((path for path in self.places if config.holds(path)), None)

    def there(self, config: ConfigFile) -> bool:
        """Return whether this setting can be read and set in `config`."""
        return (self.look(config) if self.look and self.applies(config) else self.place(config)) is not None

    def read(self, config: ConfigFile) -> Any:
        """Return its value in `config`: a constant, a `Source` if it is code, the default if it is not set."""
        if self.look is not None:
            return self.look(config) if self.applies(config) else self.default
        place = self.place(config)
        value = MISSING if place is None else config.get(place)
        if self.kind == "choice" and isinstance(value, Source) and value.code in self.options():
            return value.code
        return self.default if value is MISSING else value

    def write(self, config: ConfigFile, value: Any) -> None:
        """Validate `value` and set it in `config`. Raises BadInput if it is invalid or there is no place for it."""
        value = self.check(value)
        if self.edits is not None:
            if not self.there(config):
                raise self._no_place()
            for path, part in self.edits(config, value):
                put(config, path, part)
            return
        place = self.place(config)
        if place is None:
            raise self._no_place()
        put(config, place, value)

    def check(self, value: Any) -> Any:
        """Return `value` if it has the right type and is within bounds; else raise BadInput."""
        if (value is None and self.optional) or isinstance(value, self.also):
            return value
        if self.kind in ("int", "float") and isinstance(value, bool):
            raise self._refusal(value)
        if self.kind == "float" and isinstance(value, int):
            value = float(value)
        if not isinstance(value, _TYPES[self.kind]):
            raise self._refusal(value)
        if self.kind in ("int", "float"):
            low, high = self.least, self.most
            if value != value or (low is not None and value < low) or (high is not None and value > high):
                raise self._refusal(value)
        if self.kind == "list" and not (value and all(isinstance(item, str) and item.strip() for item in value)):
            raise self._refusal(value)
        if self.kind == "choice" and value not in self.options():
            raise self._refusal(value)
        return value

    def editable(self, config: ConfigFile) -> bool:
        """Return whether a form can edit it: it exists, and is neither code nor of another type."""
        if not self.there(config):
            return False
        value = self.read(config)
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            return False
        return not isinstance(value, Source) and (value is None or isinstance(value, _TYPES[self.kind] | int))

    def _no_place(self) -> BadInput:
        return BadInput(
            f"这份配置里没有地方可以设置 {self.name}：请直接编辑 Python",
            f"this config has no setting {self.name}: edit the Python file instead",
        )

    def _refusal(self, value: Any) -> BadInput:
        kind = _KINDS[self.kind]
        zh, en = kind.zh, kind.en
        if self.kind == "choice":
            zh, en = f"{zh}：{'、'.join(self.options())}", f"{en}: {', '.join(self.options())}"
        elif self.least is not None:
            bounds = f"{self.least:,} … {self.most:,}"
            zh, en = f"{zh}，范围 {bounds}", f"{en} within {bounds}"
        return BadInput(
            f"{self.name}={shown(value)} 不可用：应为{zh}", f"{self.name}={shown(value)} is invalid: it must be {en}"
        )


def shown(value: Any) -> str:
    """Return a value for a message, no longer than a line."""
    text = value.code if isinstance(value, Source) else repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def parse_setting(text: str) -> tuple[str, Any]:
    """Parse `name=value` from the command line; the value is read as Python, else taken as text."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise BadInput(f"{text!r} 不是 名称=值 的形式", f"{text!r} is not of the form name=value")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return name.strip(), value
