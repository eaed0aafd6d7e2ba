"""Files on their way into the workspace: uploaded from the browser, or given by their path on this machine.

A large upload goes directly to disk (`uploads`); a small one is written to disk immediately and removed from memory. So
it is still there after a refresh.
"""

import filecmp
import shutil
from collections.abc import Iterator
from itertools import count, islice, takewhile
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.data.storage import short_name
from core.ground.figures import size
from core.ground.workspace import Workspace
from pages.components.dataset.kept_form import held
from pages.components.plain import plain
from pages.components.server.uploads import spooled
from pages.components.text import t


def directory(workspace: Workspace, what: str) -> Path:
    """Return where the uploads of a form are kept."""
    return workspace.drafts / f"uploads-{what}"


def choose_file(workspace: Workspace, what: str, kinds: list[str], *, several: bool = False) -> tuple[list[Path], bool]:
    """Return the chosen files, and whether they are uploads (which may be moved).

    `what` names the form, which stores `<what>_from` and `<what>_path` with its other fields.
    """
    if (
        st.segmented_control(
            t("dataset.from"),
            ("upload", "path"),
            default=held(f"{what}_from"),
            format_func=lambda value: t(f"dataset.from_{value}"),
            key=f"{what}_from",
            required=True,
            persist_state="session",
        )
        == "path"
    ):
        key = f"{what}_path"
        st.text_input(t("dataset.path"), held(key), key=key, placeholder="/root/data/my.jsonl", persist_state="session")
        entered = st.session_state[key].strip()
        return ([Path(entered).expanduser()] if entered else []), False
    given = st.file_uploader(
        t("dataset.file"), type=kinds, key=f"{what}_file", help=t(f"dataset.{what}_help"), accept_multiple_files=several
    )
    for file in given if isinstance(given, list) else [given] if given else []:
        _take(workspace, what, file, several)
    waiting = sorted(directory(workspace, what).glob("*")) if directory(workspace, what).is_dir() else []
    if waiting:
        with st.container(horizontal=True, vertical_alignment="center"):
            names = "、".join(f"{plain(path.name)} ({size(path.stat().st_size)})" for path in waiting[:10])
            st.markdown(f":material/draft: {names}", width="content")
            st.button(
                t("dataset.clear_file"),
                key=f"{what}_clear",
                icon=":material/close:",
                type="tertiary",
                on_click=shutil.rmtree,
                args=(directory(workspace, what), True),
            )
    return waiting, True


def _take(workspace: Workspace, what: str, file: UploadedFile, several: bool) -> None:
    """Write an upload to disk once, under its own name without directories, and free its memory."""
    taken = st.session_state.setdefault(f"{what}_taken", set())
    if file.file_id in taken:
        return
    place = directory(workspace, what)
    if not several:
        shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    first = place / (short_name(Path(file.name.replace("\\", "/")).name.lstrip(".")) or "file")
    earlier = list(takewhile(Path.exists, _numbered(first)))
    given = next(islice(_numbered(first), len(earlier), None))
    if there := spooled(file.file_id):
        there.replace(given)
    else:
        with given.open("wb") as target:
            shutil.copyfileobj(file, target, 1 << 20)
    if any(filecmp.cmp(there, given, shallow=False) for there in earlier):
        # The same file again, for example after a refresh.
        given.unlink()
    taken.add(file.file_id)
    context = get_script_run_ctx()
    if context is not None and hasattr(context, "uploaded_file_mgr"):
        context.uploaded_file_mgr.remove_file(session_id=context.session_id, file_id=file.file_id)


def _numbered(path: Path) -> Iterator[Path]:
    """Yield the path, then numbered variants: two books may both be called 1.txt."""
    yield path
    yield from (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
