"""Every known cause is found in a log as the libraries write it, and none in the log of a healthy run."""

import pytest

from core.engine.failures.causes import CAUSES
from core.engine.failures.reasons import known_cause

# What precedes the problem in every log here.
ORDINARY = """\
The installed version of bitsandbytes was compiled without GPU support. 8-bit optimizers, 8-bit multiplication, and GPU quantization are unavailable.
/x/mmengine/optim/optimizer/zero_optimizer.py:11: DeprecationWarning: `TorchScript` support for functional optimizers is deprecated
  from torch.distributed.optim import \\
[2026-11-24 06:38:52,648] [WARNING] [real_accelerator.py:181:get_accelerator] Setting accelerator to CPU. If you have GPU or other accelerator, we were unable to detect it.
df: /root/.triton/autotune: No such file or directory
11/24 06:38:59 - mmengine - INFO - Config:
SYSTEM = ''
model = dict(
    llm=dict(
        pretrained_model_name_or_path='/x/models/demo',
        trust_remote_code=True,
        type='transformers.AutoModelForCausalLM.from_pretrained'))
work_dir = '/x/No space left on device/address already in use'
11/24 06:38:59 - mmengine - WARNING - Failed to search registry with scope "mmengine" in the "builder" registry tree. As a workaround, the current "builder" registry in "xtuner" is used to build instance.
Map (num_proc=1): 100%|██████████| 283/283 [00:00<00:00, 1021.33 examples/s]
11/24 06:39:05 - mmengine - INFO - Iter(train) [ 1/198]  lr: 2.0000e-04  eta: 0:01:10  time: 0.3553  data_time: 0.0074  grad_norm: 3.1093  loss: nan
11/24 06:39:09 - mmengine - INFO - Evaluation at iteration 33.
11/24 06:39:09 - mmengine - INFO - Sample output:
<s><|im_start|>user
CUDA out of memory 是什么意思<|im_end|>
<|im_start|>assistant
FileNotFoundError 和 No module named 'x' 都是错误，JSON parse error: y in row 3 也是，Segmentation fault 也是<|im_end|>

11/24 06:40:09 - mmengine - INFO - Saving checkpoint at 198 iterations
"""

TRACEBACK = """\
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/x/core/engine/workers/entry.py", line 125, in <module>
    main(trust_remote_code=True)
  File "/x/site-packages/xtuner/tools/train.py", line 388, in main
    raise FileNotFoundError(f"Cannot find {args.config}")
"""

TORCHRUN = """\
W1124 07:20:11.101000 4242 torch/distributed/elastic/multiprocessing/api.py:897] Sending process 4243 closing signal SIGTERM
E1124 07:20:11.216000 4242 torch/distributed/elastic/multiprocessing/api.py:869] failed (exitcode: {code}) local_rank: 1 (pid: 4244) of binary: /x/.venv/bin/python
Traceback (most recent call last):
  File "/x/torch/distributed/run.py", line 923, in <module>
    main()
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
core.engine.workers.entry FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-24_07:20:11
  host      : node0
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 4244)
  error_file: <N/A>
  traceback : {last}
============================================================
"""

# The cause's name, the text of the log, and words of the message to the user.
CASES = [
    (
        "gpu memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of "
        "which 1.12 GiB is free. Including non-PyTorch memory, this process has 6.66 GiB memory in use.",
        "batch_size",
    ),
    ("gpu memory", "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 7.79 GiB total", "QLoRA"),
    ("gpu memory", "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "QLoRA"),
    ("disk full", "OSError: [Errno 28] No space left on device: '/x/work_dir/iter_66.pth'", "free some space"),
    (
        "disk full",
        "RuntimeError: [enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0\n\nDuring handling\n"
        "RuntimeError: PytorchStreamWriter failed writing file data/88: file write failed",
        "free some space",
    ),
    ("disk full", "OSError: [Errno 122] Disk quota exceeded", "free some space"),
    (
        "shared memory",
        "RuntimeError: DataLoader worker (pid 3345) is killed by signal: Bus error. It is possible that dataloader's "
        "workers are out of shared memory. Please try to raise your shared memory limit.",
        "shm",
    ),
    ("memory", "RuntimeError: [enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you "
     "tried to allocate 16777216000 bytes. Error code 12 (Cannot allocate memory)", "batch_size"),
    ("memory", "RuntimeError: DataLoader worker (pid 123) is killed by signal: Killed.", "other programs"),
    ("rank killed", TORCHRUN.format(code=-9, last="Signal 9 (SIGKILL) received by PID 4244"), "fewer processes"),
    (
        "warm-up",
        "ValueError: end should be larger than begin, but got begin=0, end=0\n\nDuring handling of the above exception, "
        'another exception occurred:\n\nValueError: class `LinearLR` in mmengine/optim/scheduler/lr_scheduler.py: end should be larger than begin',
        "warmup_ratio",
    ),
    (
        "warm-up",
        "RuntimeError: The warm-up has one iteration: the learning rate would stay at 1e-05 of what is set",
        "warmup_ratio",
    ),
    ("bitsandbytes", "RuntimeError: No GPU found. A GPU is needed for quantization.", "config again"),
    ("bitsandbytes", "ValueError: bitsandbytes was compiled without GPU support.", "plain LoRA"),
    ("bitsandbytes", "RuntimeError: CUDA is required but not available for bitsandbytes. Please consider installing", "LoRA"),
    ("bitsandbytes", "RuntimeError: \n        CUDA Setup failed despite GPU being available.", "CUDA GPU"),
    ("bitsandbytes", "ImportError: Using `bitsandbytes` 4-bit quantization requires the latest version of bitsandbytes", "LoRA"),
    ("no gpu", "AssertionError: `AmpOptimizerWrapper` is only available on gpu, npu, mlu or musa", "config again"),
    ("no gpu", "AssertionError: In CPU autocast, only support `torch.bfloat16` dtype", "config again"),
    ("no gpu", "AssertionError: Torch not compiled with CUDA enabled", "none is available"),
    ("no gpu", "RuntimeError: No CUDA GPUs are available", "none is available"),
    ("no gpu", "ValueError: ProcessGroupNCCL is only supported with GPUs, no GPUs found!", "none is available"),
    ("driver", "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).", "update the driver"),
    ("gpu kind", "RuntimeError: CUDA error: no kernel image is available for execution on the device", "does not support this GPU"),
    ("gpu kind", "RuntimeError: FlashAttention only supports Ampere GPUs or newer.", "flash-attn"),
    ("gpu fault", "RuntimeError: CUDA error: an illegal memory access was encountered", "another GPU"),
    ("gpu fault", "RuntimeError: CUDA error: uncorrectable ECC error encountered", "another GPU"),
    ("token out of range", "RuntimeError: CUDA error: device-side assert triggered", "vocabulary"),
    ("token out of range", "IndexError: index out of range in self", "vocabulary"),
    ("nan", "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0", "learning rate"),
    ("nan", "Exception: Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.", "learning rate"),
    (
        "config syntax",
        '  File "/x/runs/a/config.py", line 41\n    lr = = 1\n         ^\nSyntaxError: invalid syntax',
        "line 41: invalid syntax",
    ),
    (
        "config syntax",
        '  File "/x/runs/a/config.py", line 7\n    x = 1\nIndentationError: unexpected indent',
        "line 7: unexpected indent",
    ),
    ("registry", "KeyError: 'xtuner.dataset.process_hf_datasets is not in the xtuner::builder registry. Please check'", "process_hf_datasets"),
    ("package version", "ImportError: cannot import name 'EncoderDecoderCache' from 'transformers' (/x/__init__.py)", "EncoderDecoderCache"),
    ("package version", "AttributeError: module 'torch.cpu' has no attribute 'is_bf16_supported'", "is_bf16_supported"),
    ("flash attention", "ImportError: FlashAttention2 has been toggled on, but it cannot be used", "flash-attn"),
    ("package", "ModuleNotFoundError: No module named 'mpi4py'", "mpi4py"),
    ("compiler", "deepspeed.ops.op_builder.builder.MissingCUDAException: CUDA_HOME does not exist, unable to compile CUDA op(s)", "without offload"),
    ("compiler", "RuntimeError: Unable to JIT load the cpu_adam op due to ninja not being installed.", "cpu_adam"),
    ("tokenizer", "OSError: Can't load tokenizer for '/x/models/m'. If you were trying to load it from", "models check"),
    ("tokenizer", "Exception: data did not match any variant of untagged enum ModelWrapper at line 757443 column 3", "download them again"),
    ("tokenizer", "RuntimeError: Internal: could not parse ModelProto from /x/models/m/tokenizer.model", "download them again"),
    ("model file", "safetensors_rust.SafetensorError: Error while deserializing header: MetadataIncompleteBuffer", "MetadataIncompleteBuffer"),
    ("model file", "RuntimeError: Error(s) in loading state_dict for InternLM2ForCausalLM:\n\tsize mismatch for model.tok", "loading state_dict"),
    ("model file", "OSError: /x/models/m does not appear to have a file named config.json. Checkout", "config.json"),
    ("checkpoint", "RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory", "the previous one"),
    ("checkpoint", "RuntimeError: unexpected EOF, expected 1234 more bytes. The file might be corrupted.", "the previous one"),
    ("hub", "OSError: We couldn't connect to 'https://huggingface.co' to load this file", "paths in the config"),
    ("hub", "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name'", "paths in the config"),
    ("trust", "ValueError: Loading /x/m requires you to execute the configuration file in that repo on your local machine.", "agree"),
    ("trust", "ValueError: The code modeling_x.py of the model /w/models/m was not agreed to: it is not run.", "models trust"),
    ("dataset script", "ValueError: The script of a dataset is not executed: you agreed to the config, and not", "as JSON"),
    ("dataset script", "RuntimeError: Dataset scripts are no longer supported, but found mine.py", "as JSON"),
    (
        "data row",
        "pyarrow.lib.ArrowInvalid: JSON parse error: Column(/conversation/[]/output) changed from string to number in row 3\n\n"
        "datasets.exceptions.DatasetGenerationError: An error occurred while generating the dataset",
        "row 3 (counting from 0)",
    ),
    ("data field", "KeyError: 'conversation'", "has no field conversation"),
    ("data file", "datasets.exceptions.DatasetGenerationCastError: An error occurred while generating", "datasets check"),
    ("data file", "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)", "Expecting value"),
    ("data file", "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte", "'utf-8'"),
    ("no data", "ValueError: num_samples should be a positive integer value, but got num_samples=0", "max_length"),
    ("path", "FileNotFoundError: [Errno 2] No such file or directory: '/x/data.json'", "'/x/data.json'"),
    ("path", "FileNotFoundError: Unable to find '/x/data.json'", "'/x/data.json'"),
    ("permission", "PermissionError: [Errno 13] Permission denied: '/x/work_dir'", "'/x/work_dir'"),
    ("open files", "OSError: [Errno 24] Too many open files", "ulimit"),
    (
        "port",
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: "
        "29500, useIpv6: 0, code: -98, name: EADDRINUSE, message: address already in use",
        "--port",
    ),
    ("same gpu", "RuntimeError: CUDA error: invalid device ordinal", "--nproc"),
    ("same gpu", "torch.distributed.DistBackendError: NCCL error in: x.cpp:1, invalid usage\nDuplicate GPU detected : rank 1", "--nproc"),
    ("rendezvous", "torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients. 1/2 clients joined.", "--addr"),
    ("rendezvous", "torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: The connection to the C10d store has failed.", "firewall"),
    ("rendezvous", "torch.distributed.DistNetworkError: The client socket has timed out after 60000ms while trying to connect to (10.0.0.1, 29500).", "--addr"),
    ("communication", "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2251, unhandled system error, NCCL version 2.21.5", "NCCL_SOCKET_IFNAME"),
    ("communication", "[rank1]: RuntimeError: [../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:38441", "another one failed"),
    ("communication", "RuntimeError: Gloo connectFullMesh failed with [../third_party/gloo/gloo/transport/tcp/pair.cc:144] no error", "GLOO_SOCKET_IFNAME"),
    ("memory", "Traceback (most recent call last):\n  File x\nMemoryError", "out of memory"),
    (
        "memory",
        "Traceback (most recent call last):\n  File x\nnumpy.core._exceptions._ArrayMemoryError: Unable to allocate 8.0 GiB",
        "out of memory",
    ),
    ("different iterations", "RuntimeError: The processes begin at different iterations: 0 and 40", "(0 and 40)"),
    ("no answers", "no row has an answer to learn from", "datasets check"),
    ("data on a hub", "the dataset tatsu-lab/alpaca is on a hub, not on this machine", "tatsu-lab/alpaca in the config"),
    ("data on a hub", "the tokenizer internlm/x is not on this machine", "internlm/x in the config"),
    ("path", "there is no data file /x/data.json", "/x/data.json"),
    ("no JSON", "/x/data.txt is neither JSON nor JSON Lines: Expecting value", "/x/data.txt is neither"),
    ("another base", "The checkpoint is not of this model: it has no tensor model.norm.weight.", "model.norm.weight"),
    ("another base", "The adapter does not fit this base model: it has no weight model.x.", "it has no weight model.x"),
    ("no adapter", "ValueError: This checkpoint holds no LoRA tensors.", "the full model was trained"),
    ("native crash", TORCHRUN.format(code=-11, last="Signal 11 (SIGSEGV) received by PID 4244"), "native library"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "log", "words"), CASES, ids=[f"{name}-{n}" for n, (name, _, _) in enumerate(CASES)])
def test_cause_in_a_log(name, log, words):
    own = log if "Traceback" in log else TRACEBACK + log
    for whole in (ORDINARY + own, ORDINARY + "\n".join(f"[rank0]: {line}" for line in own.splitlines())):
        found = known_cause(whole)
        assert found is not None, "nothing found"
        cause, told = found
        assert cause == name, told
        assert words in told.en
        assert told.zh
        for wrong in ("{", "  ", "()", "（）"):
            assert wrong not in told.zh + told.en


def test_every_cause_has_a_case():
    assert {cause.name for cause in CAUSES} == {name for name, _, _ in CASES}


def test_none_in_the_log_of_a_training_that_is_well():
    assert known_cause(ORDINARY) is None
    assert known_cause(ORDINARY * 50) is None


def test_none_in_what_is_not_known():
    assert known_cause(ORDINARY + TRACEBACK + "ValueError: something of its own") is None


def test_what_came_first_counts_and_not_what_followed_from_it():
    """One rank runs out of memory; the other only notices that it is gone, and says so last."""
    followed = (
        "[rank1]: Traceback (most recent call last):\n[rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to\n"
        "[rank0]: Traceback (most recent call last):\n[rank0]: torch.distributed.DistBackendError: NCCL error: remote process exited\n"
    )
    assert known_cause(ORDINARY + followed + TORCHRUN.format(code=1, last=""))[0] == "gpu memory"
