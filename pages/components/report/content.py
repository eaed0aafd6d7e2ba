"""The contents of the report: notes, author, own images, the sections and their order. Saved immediately."""

from collections.abc import Callable

import streamlit as st

from core.ground.figures import MB
from core.report import outline
from core.report.material import TITLES
from core.report.outline import Outline
from core.training.run import Run
from pages.components.problems import refusals
from pages.components.server.uploads import content
from pages.components.text import say, t


def show_content(run: Run) -> None:
    """Draw all options for the report of `run`."""
    chosen = outline.load(run)
    left, right = st.columns(2, gap="large")
    with left:
        _words(run, chosen)
        _pictures(run, chosen)
    with right:
        _sections(run, chosen)


def show_notes(run: Run) -> None:
    """Draw the author's notes, the one part that nobody else can write, and a hint if they are empty."""
    notes = outline.load(run).notes
    st.text_area(
        t("report.notes"),
        notes,
        height=104,
        max_chars=outline.MOST_NOTES,
        placeholder=t("report.notes_example"),
        help=t("report.notes_help"),
        key=f"notes-{run.id}",
        on_change=_keep(run, "notes", f"notes-{run.id}"),
    )
    if not notes.strip():
        st.caption(t("report.no_notes"))


def _words(run: Run, chosen: Outline) -> None:
    st.text_input(
        t("report.author"),
        chosen.author or run.nickname or "",
        key=f"author-{run.id}",
        max_chars=60,
        on_change=_keep(run, "author", f"author-{run.id}"),
    )
    st.toggle(
        t("report.masked"),
        chosen.masked,
        help=t("report.masked_help"),
        key=f"masked-{run.id}",
        on_change=_keep(run, "masked", f"masked-{run.id}"),
    )


def _keep(run: Run, what: str, key: str) -> Callable[[], None]:
    def keep() -> None:
        with refusals():
            outline.change(run, **{what: st.session_state[key]})

    return keep


def _pictures(run: Run, chosen: Outline) -> None:
    st.markdown(f"**{t('report.pictures')}**")
    with st.form(f"pictures-{run.id}", clear_on_submit=True, border=False):
        files = st.file_uploader(
            t("report.pictures_add"),
            type=["png", "jpg", "jpeg", "webp", "gif"],
            accept_multiple_files=True,
            max_upload_size=outline.MOST_BYTES // MB,
            help=t("report.pictures_help"),
            key=f"uploaded-{run.id}",
        )
        section = st.selectbox(t("report.pictures_section"), outline.SECTIONS, 6, format_func=_title)
        if st.form_submit_button(t("report.pictures_keep"), icon=":material/add_photo_alternate:") and files:
            with refusals():
                for file in files:
                    outline.add_picture(run, content(file), file.name, section=section)
                st.rerun()
    for picture in chosen.pictures:
        with st.container(border=True):
            image, words = st.columns([1, 2], vertical_alignment="center")
            image.image((outline.directory(run) / picture.file).read_bytes(), width="stretch")
            key = f"caption-{run.id}-{picture.file}"
            words.text_input(
                t("report.caption"),
                picture.caption,
                key=key,
                max_chars=120,
                on_change=_recaption,
                args=(run, picture.file, key),
            )
            with words.popover(t("report.discard"), icon=":material/delete:"):
                st.markdown(t("report.picture_sure"))
                st.button(
                    t("report.discard"),
                    key=f"remove-{run.id}-{picture.file}",
                    on_click=outline.remove_picture,
                    args=(run, picture.file),
                )


def _recaption(run: Run, file: str, key: str) -> None:
    outline.caption_picture(run, file, st.session_state[key])


def _sections(run: Run, chosen: Outline) -> None:
    st.markdown(f"**{t('report.sections')}**")
    st.caption(t("report.sections_help"))
    last = len(chosen.sections) - 1
    for place, name in enumerate(chosen.sections):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"{place + 1}. {_title(name)}", width="stretch")
            _move(run, name, -1, t("report.up"), ":material/arrow_upward:", disabled=place == 0)
            _move(run, name, 1, t("report.down"), ":material/arrow_downward:", disabled=place == last)
            _move(run, name, 0, t("report.leave_out"), ":material/visibility_off:", disabled=last == 0)
    if chosen.left_out:
        st.caption(t("report.left_out"))
    for name in chosen.left_out:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":gray[{_title(name)}]", width="stretch")
            _move(run, name, 2, t("report.bring_back"), ":material/visibility:")


def _move(run: Run, name: str, how: int, words: str, icon: str, *, disabled: bool = False) -> None:
    st.button(
        words,
        icon=icon,
        key=f"section-{run.id}-{name}-{how}",
        disabled=disabled,
        type="tertiary",
        on_click=_moved,
        args=(run, name, how),
    )


def _moved(run: Run, name: str, how: int) -> None:
    """Move a section up (-1) or down (1), remove it (0), or add it at the end (2)."""
    order = list(outline.load(run).sections)
    if how == 2:
        order.append(name)
    elif name in order:
        place = order.index(name)
        order.remove(name)
        if how:
            order.insert(max(0, place + how), name)
    outline.change(run, sections=tuple(order))


def _title(name: str) -> str:
    return say(TITLES[name])
