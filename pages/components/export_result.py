"""What an export left: sizes and seconds of each step, the verdict on the merged model, and the answers it rests on."""

from typing import Any

import streamlit as st

from core.export.export import STEPS, Exported
from core.ground.files import read_json
from core.training.run import Run
from pages.components.figures import NONE, duration, size
from pages.components.plain import plain, tick
from pages.components.text import t


def show_export(run: Run, found: Exported) -> None:
    """The steps that are done, and the verdict."""
    made: dict[str, dict[str, Any] | None] = dict(
        zip(STEPS, (found.adapter, found.merged, found.verified), strict=True)
    )
    seconds = {step: (read_json(run.path / "export" / f"{step}.json") or {}).get("seconds") for step in STEPS}
    for column, (step, facts) in zip(st.columns(3), made.items(), strict=True):
        with column.container(border=True):
            st.markdown(f"{tick(bool(facts), pending=True)} **{t(f'export.{step}')}**")
            if not facts:
                st.caption(t("export.not_yet"))
            elif step == "verify":
                st.caption(duration(seconds[step]))
            else:
                st.caption(f"{size(facts['bytes'])} · {duration(seconds[step])}")
                st.code(facts["path"], language=None, wrap_lines=True)
    if found.verified:
        _show_verdict(run, found.verified)


def _show_verdict(run: Run, verdict: dict[str, Any]) -> None:
    if verdict["ok"]:
        st.success(t("export.same"), icon=":material/verified:")
    else:
        st.error(t("export.different"), icon=":material/error:")
    left, middle, right = st.columns(3)
    left.metric(
        t("export.logits"),
        f"{verdict['max_abs_logit_diff']:.1e}",
        help=t("export.logits_help"),
        border=True,
        height="stretch",
    )
    middle.metric(
        t("export.tokens"), t("export.yes") if verdict["same_tokens"] else t("export.no"), border=True, height="stretch"
    )
    right.metric(
        t("export.precision"), str(verdict.get("dtype", NONE)).removeprefix("torch."), border=True, height="stretch"
    )
    st.table(
        [
            {
                t("export.with_adapter"): plain(answer["adapter"], run.nickname),
                t("export.merged_alone"): plain(answer["merged"], run.nickname),
            }
            for answer in verdict.get("answers", [])
        ],
        hide_index=True,
        border="horizontal",
    )
