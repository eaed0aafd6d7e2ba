"""Creates a dataset from a nickname: the choices, a live preview of the rows, and the button that stores it."""

import streamlit as st

from core import replay, teaching
from core.data import assistant as assistants
from core.data import origin as origins
from core.data.assistant import COURSE_N, COURSE_QUESTIONS, KINDS, Assistant, questions_in
from core.data.repetition import effect
from core.ground.workspace import Workspace
from core.models import model as models
from core.models.model import Model
from pages.components.choice import select
from pages.components.dataset.assistant_preview import show_preview
from pages.components.dataset.kept_form import forget, held, keep, line, place, restore
from pages.components.plain import DONE
from pages.components.problems import refusals
from pages.components.text import language, say, t

FORM = "assistant"
TIMES_COURSE = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 3750, 5000, 10000]
TIMES_BALANCED = [1, 2, 3, 5, 10, 20, 50]
RATIOS = ["0", "0.25", "0.5", "1", "all", "2", "3", "5"]
LANGUAGES = ("zh", "en")
RECIPES = ("balanced", "course")
ANSWERS = [f"{language}.{kind}" for language in LANGUAGES for kind in KINDS]
USUAL = {
    "dataset_nickname": "",
    "dataset_recipe": "balanced",
    "dataset_assistant": "",
    "dataset_maker": "",
    "dataset_language": None,
    "dataset_course_language": "zh",
    "dataset_model": None,
    "dataset_style": "course",
    "dataset_phrasings": None,
    "dataset_ratio": "all",
    "dataset_replay": "model",
    "dataset_n": COURSE_N,
    "dataset_repeat": 1,
    "dataset_name": "",
    **{f"dataset_question_{kind}": question for kind, question in zip(KINDS, COURSE_QUESTIONS, strict=True)},
    **{f"dataset_answer_{key}": "" for key in ANSWERS},
}


def show_recipe_form(workspace: Workspace, *, first: bool) -> None:
    """Draw nickname, recipe and button on the left, the rest under "more", and the resulting rows on the right.

    `first`: there is no dataset yet, so creating one is the next step.
    """
    restore(workspace, FORM, USUAL)
    if st.session_state["dataset_phrasings"] is None:
        # The demo model is small: more phrasings than it can learn in its few updates do not help.
        real = any(model.trainable and not model.demo for model in models.every(workspace))
        st.session_state["dataset_phrasings"] = "all" if real else "usual"
    model = _model(workspace)
    if st.session_state["dataset_language"] is None:
        st.session_state["dataset_language"] = origins.spoken(model)
    left, right = st.columns(2, gap="large")
    with left:
        line(t("dataset.nickname"), "dataset_nickname", t("demo.example"))
        recipe = st.radio(
            t("dataset.recipe"),
            RECIPES,
            place("dataset_recipe", RECIPES),
            format_func=lambda name: t(f"dataset.{name}"),
            captions=[t("dataset.balanced_caption"), t("dataset.course_caption")],
            key="dataset_recipe",
            persist_state="session",
        )
        # By then the choices below are known.
        makes = st.container()
        with st.expander(t("dataset.more"), icon=":material/tune:"):
            answers_of = _general(workspace, model) if recipe == "balanced" else None
            _repetition(recipe)
            _choices(workspace, recipe, model)
            name = line(t("dataset.name"), "dataset_name", t("dataset.name_example"))
            with st.popover(t("dataset.usual"), icon=":material/restart_alt:"):
                st.markdown(t("dataset.usual_sure"))
                st.button(
                    t("dataset.usual"),
                    key="usual_recipe",
                    type="primary",
                    on_click=forget,
                    args=(workspace, FORM, [key for key in USUAL if key != "dataset_nickname"]),
                )
        with st.expander(t("dataset.templates"), icon=":material/edit_note:"):
            _templates(recipe, model)
        chosen = _chosen(workspace, model, answers_of)
        with makes:
            _effect(chosen)
            kind = "primary" if first else "secondary"
            if st.button(t("dataset.make"), type=kind, icon=":material/save:", key="make_dataset"):
                with refusals():
                    _make(workspace, chosen, answers_of, name.strip() or None)
    with right:
        show_preview(chosen)
    keep(workspace, FORM, list(USUAL))


def _model(workspace: Workspace) -> Model | None:
    """Return the model that the dataset is for: the selected one, else the most likely one."""
    there = {model.name: model for model in models.every(workspace) if model.trainable}
    return there.get(st.session_state["dataset_model"]) or origins.model_to_teach(workspace)


def _choices(workspace: Workspace, recipe: str, model: Model | None) -> None:
    names = [there.name for there in models.every(workspace) if there.trainable]
    if names and (recipe == "balanced" or st.session_state["dataset_course_language"] == "en"):
        if st.session_state["dataset_model"] not in names:
            st.session_state["dataset_model"] = model.name
        st.selectbox(
            t("dataset.for_model"),
            names,
            place("dataset_model", names),
            key="dataset_model",
            help=t("dataset.for_model_help"),
            on_change=_speak_as_model,
            args=(workspace,),
            persist_state="session",
        )
    line(t("dataset.assistant"), "dataset_assistant", t("dataset.assistant_example"))
    base = _base(model)
    known = dict.fromkeys(filter(None, (base.made_by(language) for language in LANGUAGES)))
    line(t("dataset.maker"), "dataset_maker", " / ".join(known))
    balanced = (("language", "language", ("both", *LANGUAGES)), ("phrasings", "phrasings", ("usual", "all")))
    course = (("language", "course_language", LANGUAGES),)
    style = ("style", "style", ("course", "formal", "lively"))
    for name, key, values in (style, *(course if recipe == "course" else balanced)):
        st.segmented_control(
            t(f"dataset.{name}"),
            values,
            default=held(f"dataset_{key}"),
            format_func=lambda value, name=name: t(f"dataset.{name}_{value}"),
            key=f"dataset_{key}",
            required=True,
            persist_state="session",
        )


def _speak_as_model(workspace: Workspace) -> None:
    """Another model may speak other languages."""
    st.session_state["dataset_language"] = origins.spoken(_model(workspace))


def _templates(recipe: str, model: Model | None) -> None:
    st.caption(t("dataset.templates_intro"))
    base = _base(model)
    for spoken in base.languages:
        for kind in KINDS:
            if spoken == "zh":
                key = f"dataset_question_{kind}"
                st.text_input(t(f"dataset.question_{kind}"), held(key), key=key, persist_state="session")
            key = f"dataset_answer_{spoken}.{kind}"
            st.text_area(
                t(f"dataset.answer_{kind}") + ("" if recipe == "course" else f" · {t(f'dataset.language_{spoken}')}"),
                held(key),
                key=key,
                placeholder=base.template(spoken, kind),
                height=80,
                persist_state="session",
            )


def _general(workspace: Workspace, model: Model | None) -> Model | None:
    """Choose the ratio of general rows and their source: returns the model whose answers are used, else None."""
    st.select_slider(
        t("dataset.ratio"),
        RATIOS,
        held("dataset_ratio"),
        format_func=lambda value: t("dataset.ratio_all") if value == "all" else value,
        key="dataset_ratio",
        help=t("dataset.ratio_help"),
        persist_state="session",
    )
    if model is None or not replay.by_default(model):
        return None
    if st.session_state["dataset_replay"] not in ("model", "ours"):
        st.session_state["dataset_replay"] = "model"
    whose = st.segmented_control(
        t("dataset.replay"),
        ("model", "ours"),
        default=held("dataset_replay"),
        format_func=lambda whose: t(f"dataset.replay_{whose}", name=model.name),
        key="dataset_replay",
        help=t("dataset.replay_help"),
        required=True,
        persist_state="session",
    )
    if whose == "ours":
        return None
    kept = replay.stored(workspace, model.name)
    if kept is None:
        st.caption(t("dataset.replay_first"))
    elif kept.why_none:
        st.caption(say(kept.why_none))
    else:
        left_out = sum(kept.left_out.values())
        st.caption(t("dataset.replay_kept", count=len(kept.replies), cut=kept.cut_off, left_out=left_out))
    return model


def _make(workspace: Workspace, chosen: Assistant, answers_of: Model | None, name: str | None) -> None:
    """Store the dataset, as a job if the model has to answer first."""
    if answers_of is not None and replay.stored(workspace, answers_of.name) is None:
        teaching.start(workspace, chosen, answers_of, name, language())
        st.rerun()
    made = assistants.make(workspace, chosen, name)
    select("dataset", made.name)
    st.toast(t("dataset.made", name=made.name, rows=made.rows), icon=DONE)
    st.rerun()


def _repetition(recipe: str) -> None:
    key, times = ("dataset_n", TIMES_COURSE) if recipe == "course" else ("dataset_repeat", TIMES_BALANCED)
    if st.session_state[key] not in times:
        times = sorted({*times, st.session_state[key]})
    st.select_slider(
        t(f"dataset.{key.removeprefix('dataset_')}"),
        times,
        held(key),
        key=key,
        help=t("dataset.n_help") if recipe == "course" else t("dataset.repeat_help"),
        persist_state="session",
    )


def _effect(chosen: Assistant) -> None:
    """Draw the number of rows, and the course's own warning if few rows repeat many times."""
    # The numbers do not depend on the nickname, so it may still be missing.
    named = chosen if chosen.nickname.strip() else Assistant(**{**chosen.values(), "nickname": "X"})
    found = effect(named)
    if found is None:
        return
    said = "effect" if found.unique_rows == found.rows else "effect_repeated"
    st.caption(t(f"dataset.{said}", rows=f"{found.rows:,}", unique=f"{found.unique_rows:,}"))
    if found.too_often:
        st.warning(t("dataset.n_large", copies=f"{found.copies:,.0f}"), icon=":material/warning:")


def _base(model: Model | None) -> Assistant:
    """Return the choices without typed templates. The course's own file is the same for any model."""
    state = st.session_state
    course = state["dataset_recipe"] == "course"
    spoken = state["dataset_course_language" if course else "dataset_language"]
    origin = {} if course and spoken == "zh" else origins.origin(model)
    return Assistant(
        nickname=state["dataset_nickname"],
        recipe=state["dataset_recipe"],
        assistant_name=state["dataset_assistant"].strip(),
        maker=state["dataset_maker"].strip(),
        language="both" if course and spoken == "zh" else spoken,
        questions=questions_in(spoken) if course else COURSE_QUESTIONS,
        style=state["dataset_style"],
        phrasings=state["dataset_phrasings"],
        **origin,
    )


def _chosen(workspace: Workspace, model: Model | None, answers_of: Model | None) -> Assistant:
    """Return the current choices of the form."""
    state, base = st.session_state, _base(model)
    typed = {key: state[f"dataset_answer_{key}"].strip() for key in ANSWERS}
    answers = tuple((key, text) for key, text in typed.items() if text)
    questions = tuple(
        state[f"dataset_question_{kind}"].strip() or usual for kind, usual in zip(KINDS, COURSE_QUESTIONS, strict=True)
    )
    # Typed questions are taken as Chinese.
    more = {"questions": questions if "zh" in base.languages else base.questions, "answers": answers}
    if base.recipe == "course":
        return Assistant(**{**base.values(), **more, "n": state["dataset_n"], "phrasings": "usual"})
    ratio = state["dataset_ratio"]
    general = None if ratio == "all" else float(ratio)
    chosen = Assistant(**{**base.values(), **more, "general": general, "repeat": state["dataset_repeat"]})
    kept = replay.stored(workspace, answers_of.name) if answers_of else None
    return teaching.with_answers(chosen, kept) if kept and kept.replies else chosen
