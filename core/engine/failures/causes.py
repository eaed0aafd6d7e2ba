"""What goes wrong in a training run, as the engine's libraries log it, and what it means for a learner.

Each cause has a pattern for the error message, and a text with what happened and the next step. They are tried in this
order: root causes come before their consequences on other processes.
"""

import re
from dataclasses import dataclass

from core.ground.text import Text

# torchrun's message for a killed process: most often out of memory, unless the kernel counted no such kill.
RANK_KILLED = "rank killed"
_NO_MEMORY = (
    "内存不足，进程被系统结束：减小 batch_size，少开进程，或关闭其他程序",
    "out of memory, a process was killed: lower batch_size, use fewer processes, or close other programs",
)


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause. The pattern's groups are filled into the text."""

    name: str
    pattern: re.Pattern[str]
    text: Text


def _cause(name: str, pattern: str, zh: str, en: str) -> Cause:
    return Cause(name, re.compile(pattern), Text(zh, en))


CAUSES: tuple[Cause, ...] = (
    _cause(
        "gpu memory",
        r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED",
        "显存不足：减小 batch_size 或 max_length，改用 QLoRA，或先关掉占显存的对话",
        "out of GPU memory: lower batch_size or max_length, use QLoRA, or unload chat models",
    ),
    _cause(
        "disk full",
        r"No space left on device|Disk quota exceeded|Errno 28\]|Errno 122\]|PytorchStreamWriter failed writing",
        "磁盘已满：清理后从最后一个检查点继续，或减小 save_total_limit",
        "the disk is full: free some space and resume from the last checkpoint, or lower save_total_limit",
    ),
    _cause(
        "shared memory",
        r"insufficient shared memory|DataLoader worker .* Bus error|unable to (?:open|mmap) .*shared memory",
        "共享内存 /dev/shm 太小：把配置里的 dataloader_num_workers 设为 0，或让容器的 --shm-size 大一些",
        "the shared memory /dev/shm is too small: set dataloader_num_workers=0, or start the container with a larger --shm-size",
    ),
    _cause(
        "memory",
        r"DefaultCPUAllocator: (?:can't allocate|not enough) memory|(?m:^\S*MemoryError\b)|DataLoader worker \(pid.* (?:exited unexpectedly|signal: Killed)"
        r"|Cannot allocate memory",
        *_NO_MEMORY,
    ),
    _cause(
        RANK_KILLED,
        r"Signal 9 \(SIGKILL\) received by PID|exitcode\s*: -9\b",
        *_NO_MEMORY,
    ),
    _cause(
        "different iterations",
        r"The processes begin at different iterations: (\d+) and (\d+)",
        "各台机器从不同的迭代开始（{0} 和 {1}）：把 0 号机器最后的检查点拷到每台机器，都用“继续”（train resume）启动",
        "the machines start at different iterations ({0} and {1}): copy the last checkpoint of machine 0 to each and resume on all of them (train resume)",
    ),
    _cause(
        "warm-up",
        r"end should be larger than begin|The warm-up has one iteration",
        "预热不到两次迭代，学习率升不起来：增大 warmup_ratio 或 max_epochs，预检会给出合适的值",
        "the warmup is shorter than two iterations, so the learning rate cannot rise: raise warmup_ratio or max_epochs; the preflight suggests a value",
    ),
    _cause(
        "bitsandbytes",
        # Not bitsandbytes' notice, which is in every log on a machine without a GPU.
        r"(?<!version of bitsandbytes was )compiled without GPU support|CUDA is required.*bitsandbytes|No GPU found.*quantiz"
        r"|requires? a? ?GPU.*quantiz|Could not find the bitsandbytes CUDA binary|CUDA Setup failed despite"
        r"|Using `?bitsandbytes`? .*requires|supported by the bitsandbytes version",
        "4 比特量化（bitsandbytes）需要能用的 CUDA 显卡：在这台机器上重新生成配置，会自动换成不量化的 LoRA",
        "4-bit weights (bitsandbytes) need a working CUDA GPU: create the config again on this machine, which then uses plain LoRA",
    ),
    _cause(
        "no gpu",
        r"Amp\w*Wrapper`? is only available|Torch not compiled with CUDA|No CUDA GPUs are available|Found no NVIDIA driver"
        r"|In CPU autocast, only support|Your setup doesn't support bf16/gpu|ProcessGroupNCCL is only supported with GPUs",
        "配置要用显卡，而这里没有可用的显卡：在这台机器上重新生成配置",
        "the config requires a GPU, and none is available: create the config again on this machine",
    ),
    _cause(
        "driver",
        r"driver version is insufficient|NVIDIA driver on your system is too old|forward compatibility was attempted",
        "显卡驱动太旧，与 CUDA 版本不符：升级驱动，或安装与驱动相配的 torch",
        "the GPU driver is too old for this CUDA: update the driver, or install a matching torch",
    ),
    _cause(
        "gpu kind",
        r"no kernel image is available for execution|FlashAttention only supports Ampere|is not compatible with the current PyTorch",
        "这个 torch 或 FlashAttention 不支持这款显卡：安装支持它的 torch，或卸载 flash-attn",
        "this torch or FlashAttention does not support this GPU: install a torch that does, or remove flash-attn",
    ),
    _cause(
        "gpu fault",
        r"uncorrectable ECC|GPU is lost|fallen off the bus|unspecified launch failure|illegal memory access|CUDA error: unknown error",
        "显卡出错：从最后的检查点继续；再次出现就重启机器或换一张卡",
        "the GPU failed: resume from the last checkpoint; if it happens again, restart the machine or use another GPU",
    ),
    _cause(
        "token out of range",
        r"device-side assert triggered|index out of range in self",
        "有 token 超出模型的词表：分词器和模型不是一套，请用模型自带的分词器",
        "a token is outside the model's vocabulary: the tokenizer does not belong to this model",
    ),
    _cause(
        "nan",
        r"probability tensor contains either|loss scale already at minimum|[Ll]oss is (?:nan|NaN)|FloatingPointError",
        "损失变成了 NaN：减小学习率 lr，或用 bf16 代替 fp16，从之前的检查点继续",
        "the loss became NaN: lower the learning rate, or use bf16 instead of fp16, and resume from an earlier checkpoint",
    ),
    _cause(
        "config syntax",
        # The source lines in between are removed beforehand.
        r'File "([^"\n]+\.py)", line (\d+)\n(?:SyntaxError|IndentationError|TabError): (.+)',
        "Python 文件 {0} 第 {1} 行写错了：{2}",
        "the Python file {0} has a syntax error in line {1}: {2}",
    ),
    _cause(
        "registry",
        r"KeyError: [\"'](.+?) is not in the ([\w:]+) registry",
        "配置里的 {0} 不是 XTuner 认识的名字（{1}）：检查 type 和 import",
        "XTuner does not know {0} ({1}), which the config names: check its type and its import",
    ),
    _cause(
        "package version",
        r"ImportError: cannot import name '(\w+)' from '([\w.]+)'|AttributeError: module '([\w.]+)' has no attribute '(\w+)'",
        "Python 包的版本不相配（{0}，{1}）：运行 make run 装回要求的版本",
        "incompatible package versions ({0}, {1}): run make run to install the right ones",
    ),
    _cause(
        "flash attention",
        r"FlashAttention2 has been toggled on|flash_attn seems to be not installed",
        "没有安装 flash-attn：在配置里去掉 attn_implementation，或安装它",
        "flash-attn is not installed: remove attn_implementation from the config, or install it",
    ),
    _cause(
        "package",
        r"No module named '([\w.]+)'",
        "缺少 Python 包 {0}：请运行 make run 安装依赖",
        "the Python package {0} is missing: run make run to install it",
    ),
    _cause(
        "compiler",
        r"CUDA_HOME (?:does not exist|environment variable is not set)|Unable to JIT load the (\w+) op|CUDAMismatchException|Ninja is required",
        "DeepSpeed 要编译 {0} 而这里没有 CUDA 编译器：不用 offload，选 deepspeed_zero2",
        "DeepSpeed needs to compile {0}, but there is no CUDA compiler: use deepspeed_zero2 without offload",
    ),
    _cause(
        "tokenizer",
        r"Can't load tokenizer for|could not parse ModelProto|untagged enum ModelWrapper|Internal: src/sentencepiece|Error parsing line .* in .*tokenizer",
        "分词器文件损坏或与库的版本不符：用 models check 检查，重新下载 tokenizer 文件",
        "the tokenizer's files are damaged or incompatible with the library: run models check, download them again",
    ),
    _cause(
        "model file",
        r"SafetensorError: (.+)|Unable to load weights from|(Error\(s\) in loading state_dict.*)|does not appear to have (?:a file named )?([\w./-]+)",
        "模型文件损坏或不完整 {0}：用 models check 检查，重新下载",
        "the model's files are damaged or incomplete {0}: run models check, download them again",
    ),
    _cause(
        "checkpoint",
        r"PytorchStreamReader failed|is not a checkpoint file|unexpected EOF, expected|can not find checkpoint",
        "检查点文件损坏：从更早的检查点继续",
        "the checkpoint is damaged: resume, which uses the previous one",
    ),
    _cause(
        "hub",
        r"We couldn't connect to 'https://|Incorrect path_or_model_id|HFValidationError|offline mode is enabled|LocalEntryNotFoundError",
        "在本地找不到模型或数据，又不能联网下载：检查配置里的路径",
        "the model or the data is not on this machine, and nothing is downloaded: check the paths in the config",
    ),
    _cause(
        "trust",
        r"requires you to execute the (?:configuration|modeling|tokenizer)? ?file in that repo|pass the argument `trust_remote_code=True`|contains custom code which must be executed|The code \S+ of the model \S+ was not agreed to",
        "模型带有自己的代码，没有同意过，或同意之后变了：在“准备”页查看后同意（或用 models trust），配置里要有 trust_remote_code=True",
        "the model includes code that you have not agreed to, or that has changed since: review it on the Setup page and agree, or run models trust; the config needs trust_remote_code=True",
    ),
    _cause(
        "dataset script",
        r"The script of a dataset is not executed|Dataset scripts are no longer supported",
        "配置里的数据集要靠它自带的脚本（Python）读取，而你同意的只是配置，所以没有执行它：把数据存成 JSON，在“数据集”页导入",
        "the config's dataset is read by a script of its own, which is not executed because you agreed to the config alone: save the data as JSON and import it on the Dataset page",
    ),
    _cause(
        "data row",
        r"JSON parse error: (.+? in row (\d+))",
        "数据文件读不出来，问题在第 {1} 行之后的一行（从 0 数）：{0}。请用 datasets check 检查",
        "the data file cannot be read at row {1} (counting from 0): {0}; run datasets check",
    ),
    _cause(
        "data field",
        r"KeyError: '(conversations?|input|output|messages|system|text)'",
        "有数据行缺少字段 {0}：请用 datasets check 检查",
        "a row of the data has no field {0}: run datasets check",
    ),
    _cause(
        "data file",
        r"(?:JSONDecodeError|DatasetGeneration\w*Error|ArrowInvalid|UnicodeDecodeError)[:\s](.*)",
        "数据文件读不出来：{0}。请用 datasets check 检查",
        "the data file cannot be read: {0}; run datasets check",
    ),
    _cause(
        "no data",
        r"num_samples should be a positive integer value, but got num_samples=0|ValueError: The dataset is empty",
        "数据集里没有可用的样本：请用 datasets check 检查，或减小 max_length",
        "the dataset has no usable rows: run datasets check, or lower max_length",
    ),
    _cause(
        "no answers",
        r"no row has an answer to learn from",
        "数据里没有一行有可以学习的回答：用 datasets check 检查数据集，或调大 max_length",
        "no row of the dataset has an answer to train on: run datasets check, or raise max_length",
    ),
    _cause(
        "data on a hub",
        r"the (?:dataset|tokenizer) (\S+) is (?:on a hub, )?not on this machine",
        "配置里的 {0} 要从网上下载，不在这台机器上：换成这里的数据集和模型",
        "{0} in the config would have to be downloaded: use a dataset and a model from this workspace",
    ),
    _cause(
        "no JSON",
        r"(\S+) is neither JSON nor JSON Lines",
        "{0} 既不是 JSON 也不是 JSON Lines：用 datasets import 导入它",
        "{0} is neither JSON nor JSON Lines: import it with datasets import",
    ),
    _cause(
        "another base",
        r"The (?:checkpoint is not of|adapter does not fit) this (?:base )?model: (.+)",
        "检查点或适配器和这个基座模型对不上（{0}）：请用训练时的基座模型",
        "the checkpoint or adapter does not match this base model ({0}): use the model it was trained on",
    ),
    _cause(
        "no adapter",
        r"This checkpoint holds no LoRA (?:adapter|tensors)",
        "检查点里没有 LoRA 适配器：训练的是完整的模型，直接导出即可",
        "the checkpoint contains no LoRA adapter because the full model was trained: export it directly",
    ),
    _cause(
        "path",
        r"(?:FileNotFoundError|NotADirectoryError|IsADirectoryError|there is no data file):? (.+)",
        "找不到文件：{0}。请检查模型和数据的路径",
        "file not found: {0}; check the paths of the model and the data",
    ),
    _cause(
        "permission",
        r"PermissionError: (.+)",
        "没有权限：{0}。请改目录的权限，或换一个工作目录",
        "permission denied: {0}; change the directory's permissions, or use another workspace",
    ),
    _cause(
        "open files",
        r"Too many open files",
        "打开的文件太多：运行 ulimit -n 65536 后重新启动，或减小 map_num_proc",
        "too many open files: run ulimit -n 65536 and start again, or lower map_num_proc",
    ),
    _cause(
        "port",
        r"EADDRINUSE|[Aa]ddress already in use",
        "多进程通信端口被占用：换一个 --port",
        "the port for multi-process training is taken: choose another --port",
    ),
    _cause(
        "same gpu",
        r"Duplicate GPU detected|invalid device ordinal",
        "进程比显卡多：每张显卡一个进程，减小 --nproc",
        "there are more processes than GPUs: lower --nproc to one per GPU",
    ),
    _cause(
        "rendezvous",
        r"Rendezvous\w*Error|DistNetworkError|DistStoreError|client socket has (?:timed out|failed)|Timed out .*waiting for clients"
        r"|Timeout waiting for (?:clients|key)|wait timeout after \d+ms|failed to connect to .*store",
        "各台机器没有连上：检查每台都已启动、--addr 和 --port 能从其他机器连到、防火墙放行、--nnodes 和 --node-rank 各不相同",
        "the machines did not find each other: check that all are started, that the firewall lets the others reach --addr and --port, and that each has its own --node-rank",
    ),
    _cause(
        "communication",
        r"NCCL error|ncclSystemError|ncclUnhandledCudaError|ncclRemoteError|ncclInternalError|Watchdog caught collective operation timeout"
        r"|gloo/transport/\w+/\w+\.cc|Gloo connectFullMesh failed|Connection closed by peer",
        "进程之间的通信断了：多半是另一个进程先出错（看它的日志），或网卡不通（设 NCCL_SOCKET_IFNAME / GLOO_SOCKET_IFNAME）",
        "the processes lost their connection: most likely another one failed first (see its log), or the network interface is wrong (set NCCL_SOCKET_IFNAME or GLOO_SOCKET_IFNAME)",
    ),
    _cause(
        "native crash",
        r"Signal 11 \(SIGSEGV\) received by PID|exitcode\s*: -11\b|Segmentation fault",
        "程序在底层库里崩溃（段错误）：从最后的检查点继续；再次出现就检查驱动和各包的版本",
        "the program crashed in a native library: resume; if it happens again, check the driver and the package versions",
    ),
)
