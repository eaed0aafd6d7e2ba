"""`models …`: the demo model, models on this machine, downloads, permission to run a model's code."""

import os

from core.engine.failures.finish import finish_job
from core.ground.text import Text
from core.ground.tree import tree
from core.ground.workspace import Workspace
from core.headless.command import Answer, Options, Table, show_progress
from core.models import model as models
from core.models import shared as shared_models
from core.models import small, trust
from core.models.hub import download

NAME = (("name",), {})
# On the command line, naming a model means choosing it together with its code.
NO_TRUST = (
    ("--no-trust",),
    {
        "action": "store_true",
        "help": "do not treat this as permission to run the model's own code; ask with models trust",
    },
)


def model_answer(workspace: Workspace, model: models.Model) -> Answer:
    return {**model.to_json(), "trusted": trust.code(workspace, model.path).trusted}


def models_demo(workspace: Workspace, _: Options) -> Answer:
    job = models.build_demo(workspace)
    if job is not None:
        finish_job(job, Text("示例模型没有建成", "the demo model could not be built"), on_progress=show_progress)
    return model_answer(workspace, models.find(workspace, models.DEMO))


def models_small(workspace: Workspace, _: Options) -> Answer:
    job = small.build(workspace)
    if job is not None:
        unfinished = Text(f"{small.NAME} 没有建成", f"{small.NAME} could not be created")
        finish_job(job, unfinished, on_progress=show_progress, why=download.why)
    return model_answer(workspace, models.find(workspace, small.NAME))


def models_link(workspace: Workspace, options: Options) -> Answer:
    linked = models.link(workspace, options.path, options.name)
    if not options.no_trust:
        trust.agree(workspace, linked.path)
    return model_answer(workspace, linked)


def models_download(workspace: Workspace, options: Options) -> Answer:
    source = download.Source.of(options.hub, options.repository, options.revision, options.endpoint)
    # From the environment: a token on the command line is visible to everyone on the machine and kept in the shell's
    # history.
    job = download.start(workspace, source, options.name, os.environ.get(download.TOKEN))
    unfinished = Text("下载没有完成", "the download did not finish")
    finish_job(job, unfinished, on_progress=show_progress, why=download.why)
    made = models.find(workspace, options.name or source.name)
    if not options.no_trust:
        trust.agree(workspace, made.path)
    return model_answer(workspace, made)


def models_unlink(workspace: Workspace, options: Options) -> Answer:
    return {"name": options.name, "path": str(models.unlink(workspace, options.name))}


def models_delete(workspace: Workspace, options: Options) -> Answer:
    models.delete(workspace, options.name)
    return {"name": options.name}


def models_trust(workspace: Workspace, options: Options) -> Answer:
    model = models.find(workspace, options.name)
    if options.withdraw:
        trust.withdraw(workspace, model.name)
    else:
        trust.agree(workspace, model.path)
    found = trust.code(workspace, model.path)
    return {**model_answer(workspace, model), "code": found.files}


def models_tree(workspace: Workspace, options: Options) -> Answer:
    model = models.find(workspace, options.name)
    return {"name": model.name, "tree": tree(model.path, linked_to=model.linked_to)}


def models_shared(*_: object) -> Answer:
    return {"models": [str(path) for path in shared_models.on_this_machine()]}


def models_check(workspace: Workspace, options: Options) -> Answer:
    return model_answer(workspace, models.find(workspace, options.name))


def models_list(workspace: Workspace, _: Options) -> Answer:
    return {"models": [model_answer(workspace, model) for model in models.every(workspace)]}


COMMANDS: Table = {
    "models demo": (models_demo, []),
    "models small": (models_small, []),
    "models link": (
        models_link,
        [
            (("path",), {"help": "a model directory, or the hub name of the machine's shared copy"}),
            (("--name",), {}),
            NO_TRUST,
        ],
    ),
    "models download": (
        models_download,
        [
            (
                ("repository",),
                {"help": f"e.g. {download.COURSE['modelscope']}; the access token is read from {download.TOKEN}"},
            ),
            (("--hub",), {"choices": list(download.ENDPOINTS), "default": "modelscope"}),
            (("--endpoint",), {"help": "a mirror, e.g. https://hf-mirror.com"}),
            (("--revision",), {}),
            (("--name",), {}),
            NO_TRUST,
        ],
    ),
    "models unlink": (models_unlink, [NAME]),
    "models delete": (models_delete, [NAME]),
    "models trust": (
        models_trust,
        [NAME, (("--withdraw",), {"action": "store_true", "help": "revoke the permission"})],
    ),
    "models tree": (models_tree, [NAME]),
    "models shared": (models_shared, []),
    "models check": (models_check, [NAME]),
    "models list": (models_list, []),
}
