"""The environment of the processes that we start: an allowlist of useful variables, so that no secret leaks.

Engines, models' code and pip run in such processes, while a shell's environment holds tokens of many services.
Everything that starts a process takes its environment from here. Further variables that an engine needs are listed in
`XTUNER_STUDIO_PASS`; a hub's token is passed only to the job that sends it, by `Job.start(secrets=…)`.
"""

import os
import re
from collections.abc import Mapping

# Names of additional variables, separated by commas.
MORE = "XTUNER_STUDIO_PASS"
_NAMES = frozenset(
    """
    HOME USER LOGNAME SHELL PATH PWD TMPDIR TMP TEMP TZ TERM COLUMNS LANG LANGUAGE HOSTNAME CHROMIUM
    HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy ftp_proxy all_proxy no_proxy
    SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
    LD_LIBRARY_PATH LD_PRELOAD LIBRARY_PATH CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH CC CXX CFLAGS CXXFLAGS MAX_JOBS
    VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_EXE CONDA_SHLVL
    MASTER_ADDR MASTER_PORT SSH_CONNECTION
    """.split()
)
_KINDS = re.compile(
    r"""(?x)
    LC_ | XDG_ | PYTHON | XTUNER_ | MMENGINE_
    | CUDA | CUDNN | CUBLAS | NVIDIA_ | NV_ | NCCL_ | GLOO_ | UCX_ | FI_ | IB_ | MLX5_ | RDMAV_ | NVSHMEM_
    | OMP_ | GOMP_ | KMP_ | MKL_ | OPENBLAS_ | BLIS_ | NUMEXPR_ | MALLOC_
    | TORCH | PYTORCH_ | TRITON_ | ATEN_ | DS_ | DEEPSPEED_ | BNB_ | BITSANDBYTES_ | FLASH_ATTENTION_
    | HF_ | TRANSFORMERS_ | TOKENIZERS_ | SAFETENSORS_ | ACCELERATE_ | MODELSCOPE_
    | HIP_ | ROCM_ | ROCR_ | HSA_ | MIOPEN_ | RCCL_ | ASCEND_ | HCCL_ | NPU_
    | SLURM_ | SRUN_ | PMI | PMIX_ | OMPI_ | MPI | I_MPI_ | HYDRA_ | MV2_
    """
)
# Excluded whatever the prefix. TOKENIZERS_PARALLELISM does not match.
_SECRET = re.compile(
    r"(?i)(TOKEN|SECRET|PASSW(OR)?D|CREDENTIALS?|COOKIE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AUTH|JWT)S?(_|$)"
)


def inherited(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a process that we start: what it inherits, and `more`."""
    named = {name.strip() for name in os.environ.get(MORE, "").split(",")}
    kept = {name: value for name, value in os.environ.items() if name in named or _is_harmless(name)}
    return {**kept, **(more or {})}


def of_package_index() -> dict[str, str]:
    """Return pip's and uv's variables, which may hold an index password: only for jobs that access an index."""
    return {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_")) or name == "NETRC"}


def _is_harmless(name: str) -> bool:
    return (name in _NAMES or _KINDS.match(name) is not None) and not _SECRET.search(name)
