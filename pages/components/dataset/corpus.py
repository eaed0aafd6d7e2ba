"""Creates a corpus for continued pre-training: documents, how they are cut, a preview of the pieces, the button."""

from itertools import islice
from pathlib import Path

import streamlit as st

from core import replay
from core.data import background, corpus, intake, origin
from core.data.corpus import Told, Wanted
from core.data.files.documents import KINDS
from core.ground.errors import StudioError
from core.ground.workspace import Workspace, free_name
from pages.components.choice import select
from pages.components.dataset.incoming import choose_file
from pages.components.dataset.kept_form import held, keep, line, restore
from pages.components.plain import DONE, plain
from pages.components.problems import refusals, show_refusal
from pages.components.text import language, say, t

USUAL = {
    "corpus_chunk": 1000,
    "corpus_overlap": 100,
    "corpus_clean": True,
    "corpus_apart": True,
    "corpus_replay": True,
    "corpus_name": "",
    "corpus_path": "",
    "corpus_from": "upload",
}
PREVIEWED = 4
# Larger documents are not read for the preview.
MOST_PREVIEWED = 8 << 20


def show_corpus_form(workspace: Workspace, *, first: bool) -> None:
    """Draw documents by upload or path, a preview of their pieces, and the button that creates a dataset.

    `first`: there is no dataset yet.
    """
    restore(workspace, "corpus", USUAL)
    st.caption(t("dataset.corpus_intro"))
    files, uploaded = choose_file(workspace, "corpus", [*KINDS, "zip"], several=True)
    left, middle, right, last = st.columns([2, 2, 3, 3], vertical_alignment="bottom")
    chunk = left.number_input(
        t("dataset.chunk"),
        50,
        100_000,
        held("corpus_chunk"),
        step=50,
        key="corpus_chunk",
        help=t("dataset.chunk_help"),
        persist_state="session",
    )
    overlap = middle.number_input(
        t("dataset.overlap"),
        0,
        50_000,
        held("corpus_overlap"),
        step=10,
        key="corpus_overlap",
        help=t("dataset.overlap_help"),
        persist_state="session",
    )
    clean = right.toggle(
        t("dataset.clean_corpus"),
        held("corpus_clean"),
        key="corpus_clean",
        help=t("dataset.clean_corpus_help"),
        persist_state="session",
    )
    apart = last.toggle(
        t("dataset.corpus_apart"),
        held("corpus_apart"),
        key="corpus_apart",
        help=t("dataset.corpus_apart_help"),
        persist_state="session",
    )
    model = _show_answers(workspace)
    share = corpus.HELD_OUT if apart else 0.0
    try:
        wanted = Wanted(chunk=chunk, overlap=overlap, deduplicate=clean, boilerplate=clean, held_out=share)
        if files:
            _offer_turns(workspace, files, _preview(files, wanted), uploaded)
    except StudioError as error:
        show_refusal(error)
        wanted = None
    line(t("dataset.name"), "corpus_name", t("dataset.import_example"))
    if st.button(
        t("dataset.corpus_make"),
        type="primary" if first else "secondary",
        icon=":material/menu_book:",
        key="make_corpus",
        disabled=not (files and wanted),
    ):
        with refusals():
            name = st.session_state["corpus_name"].strip() or free_name(workspace.datasets, "corpus")
            background.start_corpus(workspace, files, wanted, name, language(), keep=uploaded, answers_of=model)
            st.rerun()
    keep(workspace, "corpus", list(USUAL))


def _show_answers(workspace: Workspace) -> str | None:
    """Offer to add a model's own answers: those of the model to be trained, unless it is a toy. Returns its name."""
    model = origin.model_to_teach(workspace)
    if not replay.by_default(model):
        return None
    wanted = st.toggle(
        t("dataset.corpus_replay", name=model.name),
        held("corpus_replay"),
        key="corpus_replay",
        help=t("dataset.corpus_replay_help"),
        persist_state="session",
    )
    if wanted and replay.stored(workspace, model.name) is None:
        st.caption(t("dataset.replay_first"))
    return model.name if wanted else None


def _offer_turns(workspace: Workspace, files: list[Path], spoken: list[str], uploaded: bool) -> None:
    """For documents that are dialogues: explain how they are treated here, and offer to import one as a dialogue."""
    if not spoken:
        return
    st.info(t("dataset.corpus_spoken", names=plain("、".join(spoken[:5]))), icon=":material/forum:")
    if len(files) == 1 and st.button(t("dataset.corpus_as_dialogue"), key="corpus_turns", icon=":material/forum:"):
        with refusals():
            made, _ = intake.import_file(workspace, files[0], keep=uploaded)
            select("dataset", made.name)
            st.toast(t("dataset.made", name=made.name, rows=made.rows), icon=DONE)
            st.rerun()


def _preview(files: list[Path], wanted: Wanted) -> list[str]:
    """Draw the first pieces; return the names of documents that look like dialogues."""
    small = [file for file in files if not file.is_file() or file.stat().st_size <= MOST_PREVIEWED]
    if not small:
        st.caption(t("dataset.corpus_large"))
        return []
    rows, told = _pieces(tuple((file, file.stat().st_mtime_ns if file.exists() else 0) for file in small), wanted)
    for left in told.skipped[:5]:
        st.warning(f"{plain(left['name'])}：{plain(say(left['reason']))}", icon=":material/warning:")
    if rows:
        with st.expander(t("dataset.corpus_preview", count=len(rows)), icon=":material/visibility:", expanded=True):
            for number, text in enumerate(rows, 1):
                st.caption(t("dataset.piece", number=number, count=len(text)))
                st.text(text if len(text) <= 600 else f"{text[:300]}\n…\n{text[-250:]}")
    return told.spoken


@st.cache_data(max_entries=4, show_spinner=False)
def _pieces(files: tuple[tuple[Path, int], ...], wanted: Wanted) -> tuple[list[str], Told]:
    told = Told()
    found = islice(corpus.pieces([file for file, _ in files], wanted, told), PREVIEWED)
    return [row["conversation"][0]["output"] for row in found], told
