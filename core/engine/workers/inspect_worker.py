"""Inspect the interpreter that runs this file: what is installed and, on request, whether it loads and sees a GPU.

Run by file path, so that any interpreter can be inspected: `python inspect_worker.py FILE [--load]`; never imported.
Writes its findings to FILE as JSON. `--load` imports the engine and runs `xtuner version` and `xtuner help`.
"""

import atexit
import contextlib
import gc
import importlib
import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import time

# Only installed packages count: drop this file's directory, and keep the project on the path for one import only.
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [os.path.dirname(os.path.dirname(os.path.dirname(HERE))), *(path for path in sys.path if path != HERE)]
from core.ground.progress import write_progress  # noqa: E402

del sys.path[0]

PACKAGES = (
    "xtuner",
    "torch",
    "torchvision",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "deepspeed",
    "bitsandbytes",
    "mmengine",
    "numpy",
    "setuptools",
    "flash-attn",
)
# What training, conversion and chat import, the lightest first, so that a failure is reported early.
LOADED = ("torch", "transformers", "peft", "bitsandbytes", "deepspeed", "xtuner.tools.train")
CLI = "import sys; sys.argv[0] = 'xtuner'; from xtuner.entry_point import cli; cli()"


def installed() -> dict:
    """Return versions and locations from package metadata; imports none of the packages."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "versions": versions,
        "prefix": sys.prefix,
        "xtuner": place_of("xtuner"),
        "torch_cuda": torch_cuda(),
        "site": sysconfig.get_paths()["purelib"],
    }


def place_of(package: str) -> "str | None":
    """Return the directory of a package; None if it is not installed."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return next(iter(spec.submodule_search_locations), None) if spec and spec.submodule_search_locations else None


def torch_cuda() -> "str | None":
    """Return the CUDA version that torch was built with, from its version file; None for a CPU build."""
    place = place_of("torch")
    with contextlib.suppress(OSError, TypeError):
        with open(os.path.join(place, "version.py"), encoding="utf-8") as file:
            found = re.search(r"^cuda\b[^=]*= '([\d.]+)'", file.read(), re.MULTILINE)
        return found[1] if found else None
    return None


def load() -> list:
    """Import the modules: for each whether it loads, the seconds, and the last line of the error."""
    found = []
    for number, module in enumerate(LOADED):
        write_progress(note="import", module=module, done=0.8 * number / len(LOADED))
        started = time.time()
        try:
            # Output during an import is not a result.
            with contextlib.redirect_stdout(io.StringIO()):
                importlib.import_module(module)
            error = None
        except Exception as problem:
            error = (str(problem).strip().splitlines() or [type(problem).__name__])[-1][:400]
            error = f"{type(problem).__name__}: {error}"
        found.append(
            {"module": module, "ok": error is None, "seconds": round(time.time() - started, 2), "error": error}
        )
    return found


def cuda() -> dict:
    """Return what a CUDA process sees, in bytes: on a sliced card the slice, where the driver reports the full card."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {"available": False, "devices": [], "error": None}
    devices, error = [], None
    try:
        available = bool(torch.cuda.is_available())
        for index in range(torch.cuda.device_count() if available else 0):
            free, total = torch.cuda.mem_get_info(index)
            devices.append(
                {
                    "index": index,
                    "name": torch.cuda.get_device_name(index),
                    "free": free,
                    "total": total,
                    "capability": ".".join(map(str, torch.cuda.get_device_capability(index))),
                    "bf16": bool(torch.cuda.is_bf16_supported()),
                }
            )
    except Exception as problem:
        available, error = False, str(problem)[:400]
    return {"available": available, "devices": devices, "error": error}


def command_line(word: str) -> str:
    """Return the output of `xtuner WORD`."""
    done = subprocess.run(
        [sys.executable, "-c", CLI, word],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    return done.stdout.strip()


def write(path: str, value: object) -> None:
    partial = f"{path}.{os.getpid()}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
    os.replace(partial, path)


def main() -> None:
    """Inspect, and write the findings."""
    found = installed()
    if "--load" in sys.argv[2:]:
        # See core/ground/garbage.py, which is not imported here.
        gc.disable()
        atexit.register(gc.freeze)
        found["loads"] = load()
        write_progress(note="cuda", done=0.8)
        found["cuda"] = cuda()
        write_progress(note="command_line", done=0.85)
        found["xtuner_version"] = command_line("version")
        write_progress(note="command_line", done=0.95)
        found["xtuner_help"] = command_line("help")
        found["time"] = time.time()
        write_progress(note="done", done=1.0)
    write(sys.argv[1], found)


if __name__ == "__main__":
    main()
