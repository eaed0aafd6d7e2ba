"""The package to publish: create it, inspect it, upload it. The token is forgotten after use."""

import streamlit as st

from core.export.export import exported
from core.ground.errors import StudioError
from core.ground.figures import size
from core.ground.workspace import Workspace
from core.jobs.job import Job, Status
from core.models.hub.download import why
from core.publish import package as packages
from core.publish import upload
from core.publish.package import Package, Target, What
from core.training.run import Run
from pages.components.contents import link_to
from pages.components.plain import plain
from pages.components.problems import refusals, show_log, show_refusal
from pages.components.text import say, t

TARGETS: dict[Target, str] = {"openxlab": "OpenXLab", "modelscope": "ModelScope", "huggingface": "Hugging Face"}
_TOKEN = "publish_token"


def uploading(run: Run) -> Job | None:
    """Return the job that uploads a package now, None if there is none."""
    job = upload.latest(run)
    return job if job and job.status().live else None


def show_publish(workspace: Workspace, run: Run, *, busy: bool) -> None:
    """Draw everything from the choice of a hub to the existing package."""
    st.markdown(t("report.publish_intro"))
    found = exported(run)
    if found.adapter is None and found.merged is None:
        st.info(t("report.not_exported"), icon=":material/info:")
        link_to("export")
        return
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    target: Target = left.selectbox(
        t("report.target"), list(TARGETS), format_func=TARGETS.get, key="publish_target", persist_state="session"
    )
    there = {"merged": found.merged, "adapter": found.adapter}
    whats: list[What] = [name for name, made in there.items() if made]
    what: What = middle.selectbox(
        t("report.what"),
        whats,
        format_func=lambda name: f"{t(f'report.what_{name}')} · {size(there[name]['bytes'])}",
        key="publish_what",
    )
    if found.merged is None:
        st.caption(t("report.not_merged"))
    package = packages.there(run, target, what)
    if right.button(
        t("report.package"),
        icon=":material/inventory_2:",
        width="stretch",
        key="package",
        disabled=package is not None,
    ):
        with refusals():
            packages.package(workspace, run, target, what=what)
            st.rerun()
    if package is None:
        st.caption(t("report.no_package"))
        return
    _show_package(run, target, what, package)
    _show_upload(run, target, package, busy=busy)


def _show_package(run: Run, target: Target, what: What, package: Package) -> None:
    st.success(t("report.packaged", count=len(package.files)), icon=":material/check_circle:")
    st.code(str(package.path), language=None, wrap_lines=True)
    card, files = st.tabs([t("report.card"), t("report.files")])
    with card, st.container(border=True, height=420):
        text = (package.path / "README.md").read_text(encoding="utf-8")
        st.markdown(text.partition("\n---\n")[2])
    files.code("\n".join(package.files), language=None)
    with st.popover(t("report.package_discard"), icon=":material/delete:"):
        st.markdown(t("report.package_sure"))
        st.button(
            t("report.discard"),
            key="discard_package",
            on_click=packages.discard,
            args=(run, target, what),
        )


def _show_upload(run: Run, target: Target, package: Package, *, busy: bool) -> None:
    st.header(t("report.upload"), anchor=False)
    repository = st.text_input(
        t("report.repository"),
        placeholder="USER/NAME",
        key="publish_repository",
        persist_state="session",
        max_chars=120,
    )
    private = st.toggle(t("report.private"), key="publish_private", persist_state="session")
    plan = None
    if repository:
        try:
            plan = upload.plan(package, target, repository, private=private)
        except StudioError as error:
            show_refusal(error)
    if target not in upload.TOKEN_VARIABLES:
        st.info(t("report.openxlab"), icon=":material/info:")
    elif plan:
        st.caption(
            t(
                "report.plan",
                count=len(plan.files),
                size=size(plan.bytes),
                where=plain(upload.address(target, plan.repository)),
            )
        )
        st.text_input(t("report.token"), type="password", key=_TOKEN, help=t("report.token_help"), autocomplete="off")
        st.button(
            t("report.send"),
            icon=":material/cloud_upload:",
            key="send_package",
            disabled=busy,
            on_click=_send,
            args=(run, package, plan),
        )
        _show_refusal_of_the_last_click()
    if plan:
        with st.expander(t("report.by_git"), icon=":material/terminal:", expanded=target not in upload.TOKEN_VARIABLES):
            st.caption(t("report.by_git_help"))
            st.code("\n".join([f"cd {package.path}", *plan.by_git]), language="bash", wrap_lines=True)
    _show_last(run)


def _send(run: Run, package: Package, plan: upload.Plan) -> None:
    """Start the upload, and forget the token in any case."""
    token = st.session_state.get(_TOKEN, "")
    st.session_state[_TOKEN] = ""
    try:
        upload.start(run, package, plan, token)
    except StudioError as error:
        st.session_state["publish_refusal"] = error


def _show_refusal_of_the_last_click() -> None:
    if error := st.session_state.pop("publish_refusal", None):
        show_refusal(error)


def _show_last(run: Run) -> None:
    job = upload.latest(run)
    if job is None or job.status().live:
        return
    facts = job.spec.get("facts", {})
    if job.status() is Status.FINISHED:
        where = upload.address(facts["target"], facts["repository"])
        st.success(t("report.sent", where=where), icon=":material/cloud_done:")
        return
    box = st.warning if job.status() is Status.KILLED else st.error
    box(f"{plain(say(why(job)))}  \n{t('report.send_again')}", icon=":material/cloud_off:")
    show_log(job)
