"""Consent to execute a config's Python: known texts are recorded by hash, others need the user's approval once.

Known are the texts written here (by the form and recipes from XTuner's presets, or in the app's own editor) and those
the user approved. Any other text, imported, from a shared recipe or changed outside the app, is untrusted until
approved. `refuse` is called before a text is executed. `settings/agreed_configs.txt` holds the hashes, one per line,
append-only.

`beyond_settings` shows the lines a reader should look at; nothing depends on it except how configs of older versions
are classified. Executes nothing.
"""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

from core.engine.config_file import ConfigFile, SyntaxRefusal
from core.engine.config_text import read
from core.engine.plain_config import Line, beyond, other_files
from core.engine.presets import preset_text, presets
from core.ground.errors import BadInput
from core.ground.files import read_json
from core.ground.workspace import Workspace, directories_with


def agreed(workspace: Workspace, text: str) -> bool:
    """Return whether a config with this text may be executed."""
    _begin(workspace)
    return _hash(text) in _record(workspace).read_text(encoding="utf-8").split()


def agree(workspace: Workspace, *texts: str) -> None:
    """Allow configs with these texts to be executed."""
    _begin(workspace)
    _add(workspace, *texts)


def refuse(workspace: Workspace, file: Path) -> str:
    """Return the text of a config file that may be executed.

    Raises BadInput for any other, with the next step; also for a config that loads other files, which may have changed
    by the time it is executed.
    """
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
    """Raise BadInput for a text that loads other files: those were not approved and can change independently."""
    if others := other_files(text):
        raise BadInput(
            f"配置 {file} 会连同别的文件一起执行（{others[0]}），而你同意的只是它自己的内容：把那个文件的内容写进配置里，再删掉这一行",
            f"the config {file} executes another file ({others[0]}), but you approved only its own text: "
            "copy that file's content into the config and remove the line",
        )


def beyond_settings(text: str, preset: str) -> list[Line]:
    """Return the lines of a config that do more than set values, except those that are in XTuner's preset of that name.

    Raises SyntaxRefusal if it is not Python.
    """
    # Applies ConfigFile's limits on what the parser can handle.
    ConfigFile(text)
    return beyond(text, preset_text(preset) if preset in presets() else "")


def _begin(workspace: Workspace) -> None:
    """Approve what a workspace of an older version created itself.

    That is: configs of runs that were trained, texts that are the last that the app wrote (`versions`), and texts that
    only set values compared with their preset. Imported configs need approval.
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
    # A single write, so that concurrent writers append complete lines.
    descriptor = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, lines.encode())
    finally:
        os.close(descriptor)


def _record(workspace: Workspace) -> Path:
    return workspace.settings / "agreed_configs.txt"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
