"""Uploads a package: `python -m core.publish.upload_worker PLAN`, started by `upload` as a job.

A file that the hub already has, by its hash, is skipped, so an interrupted upload resumes where it was.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.ground import garbage
from core.ground.files import read_json
from core.ground.progress import progress_file, write_progress
from core.models.hub.clients import HUBS, HubRefusal, prepare, refusal
from core.models.hub.reach import Unreachable, guard
from core.models.hub.worker import patiently, right

Send = Callable[[str, Path], Any]


def huggingface(plan: dict[str, Any], token: str | None) -> Send:
    """Create the repository if necessary; return a function that sends one file."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=plan["endpoint"], token=token)
    api.create_repo(plan["repository"], repo_type="model", private=plan["private"], exist_ok=True)

    def send(name: str, path: Path) -> None:
        api.upload_file(
            path_or_fileobj=path, path_in_repo=name, repo_id=plan["repository"], commit_message=f"Add {name}"
        )

    return send


def modelscope(plan: dict[str, Any], token: str | None) -> Send:
    """Create the repository if necessary; return a function that sends one file."""
    from modelscope_hub import HubApi

    api = HubApi(endpoint=plan["endpoint"], token=token or "")
    if not api.repo_exists(plan["repository"], "model"):
        api.create_repo(plan["repository"], "model", visibility="private" if plan["private"] else "public")

    def send(name: str, path: Path) -> None:
        api.upload_file(plan["repository"], "model", path, name, commit_message=f"Add {name}", disable_tqdm=True)

    return send


SENDERS = {"huggingface": huggingface, "modelscope": modelscope}


def send_all(plan: dict[str, Any], token: str | None, scratch: Path) -> None:
    """Send every file of the plan that is not on the hub yet, small ones first. Raises HubRefusal."""
    package = Path(plan["package"])
    write_progress(note="upload", done=0.0)
    send = patiently(lambda: SENDERS[plan["target"]](plan, token), lambda: 0)
    there = {file.path: file for file in patiently(lambda: _listing(plan, token, scratch), lambda: 0)}
    total, done, began = max(1, plan["bytes"]), 0, time.monotonic()
    for file in sorted(plan["files"], key=lambda file: file["bytes"]):
        name, path = file["path"], package / file["path"]
        if name in there and (there[name].sha256 or there[name].sha1) and right(path, there[name]):
            print(f"{name}: already uploaded", flush=True)
        else:
            patiently(lambda name=name, path=path: send(name, path), lambda: 0)
            print(f"{name}: sent", flush=True)
        done += file["bytes"]
        seconds = time.monotonic() - began
        write_progress(
            note="upload", done=done / total, file=name, eta_s=seconds * (total - done) / done if done else None
        )


def _listing(plan: dict[str, Any], token: str | None, scratch: Path) -> list[Any]:
    """Return the files in the repository; empty if it is new."""
    source = {
        "repository": plan["repository"],
        "endpoint": plan["endpoint"],
        "revision": "main" if plan["target"] == "huggingface" else "master",
    }
    try:
        return HUBS[plan["target"]](source, token, scratch)[0]
    except Exception as error:
        code = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status_code", None)
        if code == 404 or "NotFound" in type(error).__name__ or "NotExist" in type(error).__name__:
            return []
        raise


def main() -> None:
    """Execute the plan named on the command line."""
    garbage.resume()
    plan = read_json(Path(sys.argv[1]))
    scratch = (progress_file() or Path(sys.argv[1])).parent / "client"
    token = prepare(scratch)
    guard(plan["endpoint"])
    try:
        send_all(plan, token, scratch)
    except (HubRefusal, Unreachable) as problem:
        write_progress(note="upload", done=0.0, problem={"zh": problem.zh, "en": problem.en})
        print(problem.en, flush=True)
        sys.exit(1)
    except Exception as error:
        refused = refusal(error)
        words = refused or HubRefusal(f"上传失败：{type(error).__name__}", f"the upload failed: {type(error).__name__}")
        write_progress(note="upload", done=0.0, problem={"zh": words.zh, "en": words.en})
        print(f"{words.en} ({type(error).__name__})", flush=True)
        sys.exit(1)
    write_progress(note="done", done=1.0)


if __name__ == "__main__":
    main()
