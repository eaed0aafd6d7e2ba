"""Child processes get what they may need from our environment, and none of the user's secrets."""

import json
import sys

import pytest

from core.ground.inherited import inherited, of_package_index
from core.jobs.job import Job, Status
from tests.conftest import ended

USEFUL = """PATH HOME LANG LC_ALL TZ TMPDIR HTTP_PROXY https_proxy NO_PROXY SSL_CERT_FILE LD_LIBRARY_PATH LD_PRELOAD
CUDA_VISIBLE_DEVICES CUDA_HOME NVIDIA_VISIBLE_DEVICES NCCL_SOCKET_IFNAME GLOO_SOCKET_IFNAME OMP_NUM_THREADS MKL_NUM_THREADS
TORCH_CUDA_ARCH_LIST TORCHELASTIC_RUN_ID PYTORCH_CUDA_ALLOC_CONF TRITON_CACHE_DIR DS_SKIP_CUDA_CHECK TOKENIZERS_PARALLELISM
HF_HOME HF_ENDPOINT MODELSCOPE_CACHE SLURM_PROCID SLURM_JOB_ID PYTHONPATH VIRTUAL_ENV XTUNER_STUDIO_HOME XTUNER_STUDIO_LANG
XTUNER_STUDIO_ENGINE XTUNER_STUDIO_MODELS MASTER_ADDR ASCEND_HOME_PATH""".split()
SECRET = """HF_TOKEN HUGGING_FACE_HUB_TOKEN HUGGINGFACE_API_KEY MODELSCOPE_API_TOKEN MODELSCOPE_TOKEN OPENAI_API_KEY
WANDB_API_KEY AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID GITHUB_TOKEN GH_TOKEN DATABASE_URL SSH_AUTH_SOCK PGPASSWORD
XTUNER_STUDIO_ACCESS_TOKEN XTUNER_STUDIO_TOKEN PYTHON_KEYRING_PASSWORD SLURM_JWT_TOKEN SLURM_JWT HF_TOKENS NVIDIA_API_KEY NGC_API_KEY
PIP_INDEX_URL UV_INDEX_URL TORCH_SECRET CUDA_PASSWORD MY_COMPANY_THING""".split()


@pytest.fixture
def environment(monkeypatch):
    for name in (*USEFUL, *SECRET):
        if name not in ("PATH", "HOME", "PYTHONPATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "XTUNER_STUDIO_ENGINE"):
            monkeypatch.setenv(name, f"the {name}")
    monkeypatch.setenv("PYTHONPATH", "")
    return monkeypatch


@pytest.mark.usefixtures("environment")
def test_what_is_of_use_and_no_secret():
    found = inherited({"MORE": "1"})
    assert [name for name in USEFUL if name not in found and not name.startswith(("LD_", "XTUNER_STUDIO_ENGINE"))] == []
    assert [name for name in SECRET if name in found] == []
    assert found["MORE"] == "1"


def test_a_variable_that_an_engine_needs_is_named(environment):
    environment.setenv("XTUNER_STUDIO_PASS", "MY_COMPANY_THING, WANDB_API_KEY")
    found = inherited()
    assert (found["MY_COMPANY_THING"], found["WANDB_API_KEY"]) == ("the MY_COMPANY_THING", "the WANDB_API_KEY")
    assert "OPENAI_API_KEY" not in found


@pytest.mark.usefixtures("environment")
def test_an_index_is_told_of_itself():
    found = of_package_index()
    assert (found["PIP_INDEX_URL"], found["UV_INDEX_URL"]) == ("the PIP_INDEX_URL", "the UV_INDEX_URL")
    assert not set(found) & ({*USEFUL, *SECRET} - {"PIP_INDEX_URL", "UV_INDEX_URL"})


SEEN = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"


@pytest.mark.usefixtures("environment")
def test_a_job_sees_its_own_secret_alone_and_it_is_written_nowhere(tmp_path):
    own = {"XTUNER_STUDIO_TOKEN": "this job's own word"}
    job = Job.start(
        tmp_path / "jobs", "test", [sys.executable, "-c", SEEN, str(tmp_path / "seen")], env={"A": "b"}, secrets=own
    )
    assert ended(job) is Status.FINISHED, job.log_tail()
    seen = json.loads((tmp_path / "seen").read_text())
    assert (seen["A"], seen["XTUNER_STUDIO_TOKEN"]) == ("b", "this job's own word")
    assert [name for name in SECRET if name in seen] == ["XTUNER_STUDIO_TOKEN"]
    for file in (tmp_path / "jobs").rglob("*"):
        assert not file.is_file() or b"own word" not in file.read_bytes()
