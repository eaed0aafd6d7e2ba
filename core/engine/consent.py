"""Leave for a config's Python: what XTuner executes is known by the hash of its text, and asked about once where it is not.

Known is what was written here: by the form and the recipes from XTuner's presets, in the app's own editor, and what the
user agreed to. Any other text, imported, of a shared recipe or changed outside the app, is nobody's until it is agreed to.
Before a text is executed, `refuse` is asked. `settings/agreed_configs.txt` holds the hashes, one a line, and is added to.

What a reader should look at is told by `beyond_settings`; it shows, and nothing depends on it but how configs of older
versions are told from others. Executes nothing.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from core.engine.config_file import ConfigFile, SyntaxRefusal, read
from core.engine.plain_config import Line, beyond, other_files
from core.engine.presets import preset_text, presets
from core.ground.errors import BadInput
from core.ground.files import read_json
from core.ground.workspace import Workspace, directories_with


def agreed(workspace: Workspace, text: str) -> bool:
    """Whether a config of this text may be executed."""
    _begin(workspace)
    return _hash(text) in _record(workspace).read_text(encoding="utf-8").split()


def agree(workspace: Workspace, *texts: str) -> None:
    """Let configs of these texts be executed."""
    _begin(workspace)
    _add(workspace, *texts)


def refuse(workspace: Workspace, file: Path) -> str:
    """The text of a config file that may be executed. Raises BadInput for any other, with what to do; also for one that
    has other files executed with it, which may be others by then."""
    text = read(file)
    if not agreed(workspace, text):
        name = file.parent.name
        zh = f"配置 {name}（{file}）来自别处，或在应用之外改过；训练引擎会把它当作 Python 执行，所以要先得到你的同意"
        en = f"the config {name} ({file}) came from elsewhere or was changed outside the app, and XTuner executes it as Python"
        raise BadInput(
            f"{zh}：在“训练配置”页查看后同意，或给命令加上 --agree",
            f"{en}: review it on the Config page and agree, or add --agree to the command",
        )
    alone(file, text)
    return text


def alone(file: Path, text: str) -> None:
    """Raise BadInput for a text that has other files executed with it: those were not agreed to, and change by themselves."""
    if others := other_files(text):
        raise BadInput(
            f"配置 {file} 会连同别的文件一起执行（{others[0]}），而你同意的只是它自己的内容：把那个文件的内容写进配置里，再删掉这一行",
            f"the config {file} has another file executed with it ({others[0]}), and it is its own text that you agreed to: "
            "write what stands there into the config, and take the line out",
        )


def beyond_settings(text: str, preset: str) -> list[Line]:
    """The lines of a config that do more than set values, without those that XTuner's own preset of that name has.

    Raises SyntaxRefusal where it is not Python.
    """
    # By its own limits on what a parser can bear.
    ConfigFile(text)
    return beyond(text, preset_text(preset) if preset in presets() else "")


def _begin(workspace: Workspace) -> None:
    """In a workspace of an older version, take for known what it made itself.

    That is: the configs of runs that were trained, texts that are the last that the app wrote (`versions`), and texts that
    do no more than their preset but set values. What was imported is asked about.
    """
    if _record(workspace).exists():
        return
    texts = []
    for place in directories_with(workspace.configs, "config.json"):
        facts = read_json(place / "config.json")
        with contextlib.suppress(BadInput, OSError):
            if isinstance(facts, dict) and _made_here(place, facts):
                texts.append(read(place / "config.py"))
    for place in directories_with(workspace.runs, "run.json"):
        with contextlib.suppress(BadInput, OSError):
            texts.append(read(place / "config.py"))
    for file in sorted(workspace.recipes.glob("*.json")):
        kept = read_json(file)
        with contextlib.suppress(BadInput):
            if isinstance(kept, dict) and _only_sets_values(kept):
                texts.append(str(kept["text"]))
    _add(workspace, *texts)


def _made_here(config: Path, facts: dict[str, Any]) -> bool:
    at = read_json(config / "versions" / "at.json")
    if facts.get("recipe") == "import":
        return False
    text = read(config / "config.py")
    if isinstance(at, dict):
        return text == read(config / "versions" / f"{int(at.get('at', 0)):04}.py")
    return _only_sets_values({**facts, "text": text})


def _only_sets_values(said: dict[str, Any]) -> bool:
    try:
        return not beyond_settings(str(said.get("text")), str(said.get("preset")))
    except SyntaxRefusal:
        return False


def _add(workspace: Workspace, *texts: str) -> None:
    record = _record(workspace)
    record.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{_hash(text)}\n" for text in texts)
    # In one go, so that of two who add at once each adds whole lines.
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, lines.encode())
    finally:
        os.close(descriptor)


def _record(workspace: Workspace) -> Path:
    return workspace.settings / "agreed_configs.txt"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
