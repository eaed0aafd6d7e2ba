"""Install and start: `python3 -m core.ground.bootstrap run|test|bench|fuzz|setup [PORT]`, called by the Makefile.

Runs on a machine where nothing is installed, under any Python 3: standard library and old syntax only. Creates `.venv`
from requirements.lock with uv, which rejects files with other hashes; again only when that file has changed, or
requirements.txt, from which it is generated.
"""

import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from typing import List, NoReturn

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(PROJECT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, ".requirements.sha256")
REQUIREMENTS = os.path.join(PROJECT, "requirements.txt")
LOCK = os.path.join(PROJECT, "requirements.lock")
SUPPORTED = ((3, 11), (3, 12))
# The environment takes 6.5 GB, most of it torch and CUDA libraries.
INSTALL_GB = 9.0
RUN_GB = 1.0
# Of the test runner. Each takes up to a gigabyte of memory, and one more while a run trains.
MOST_WORKERS = 5
GB_PER_WORKER = 2
# Settings passed to the app: the token for connections whose user is unknown, the host names of web proxies.
ACCESS_TOKEN = "XTUNER_STUDIO_ACCESS_TOKEN"
PROXY = "XTUNER_STUDIO_PROXY"
SHORTEST_TOKEN = 16


def fail(zh: str, en: str) -> NoReturn:
    """Report the problem in one line and exit."""
    sys.stderr.write(f"{zh} / {en}\n")
    sys.exit(2)


def requirements_digest() -> str:
    """Return the hash of the files that the environment is made from."""
    digest = hashlib.sha256()
    for path in (REQUIREMENTS, LOCK):
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def installed() -> bool:
    """Return whether `.venv` is complete and matches the current requirements."""
    try:
        with open(STAMP) as file:
            return file.read().strip() == requirements_digest() and os.path.exists(PYTHON)
    except OSError:
        return False


def supported_python() -> str:
    """Return a supported Python: this one, or one found on PATH. Exits with one line if there is none."""
    if sys.version_info[:2] in SUPPORTED:
        return sys.executable
    for version in reversed(SUPPORTED):
        path = shutil.which(f"python{version[0]}.{version[1]}")
        # A version manager's shim may exist without the Python behind it.
        if path and subprocess.call([path, "-c", ""], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0:
            return path
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    fail(
        f"需要 Python 3.11 或 3.12，现在是 {here}：请先安装，例如 conda create -n studio python=3.11",
        f"Python 3.11 or 3.12 is required, but this is {here}: install one, e.g. conda create -n studio python=3.11",
    )


def check_disk(needed: float) -> None:
    """Exit with one line if the project's disk has less than `needed` GB free."""
    free = shutil.disk_usage(PROJECT).free / 2**30
    if free < needed:
        fail(
            f"磁盘空间不足：{PROJECT} 需要 {needed:.0f} GB，只剩 {free:.1f} GB，请清理",
            f"not enough disk space: {PROJECT} needs {needed:.0f} GB, {free:.1f} GB free; free some space",
        )


def check_port(port: int) -> None:
    """Exit with one line if something else listens on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            fail(
                f"端口 {port} 已被占用：应用可能已在运行；或换一个端口：make run PORT={port + 1}",
                f"port {port} is taken: the app may already be running; otherwise use another: make run PORT={port + 1}",
            )


def setup() -> None:
    """Create `.venv` if it is missing or out of date."""
    if installed():
        check_disk(RUN_GB)
        return
    python = supported_python()
    check_disk(INSTALL_GB)
    print("正在安装依赖（约 6.5 GB，只需一次） / installing dependencies (about 6.5 GB, once) …", flush=True)
    with_hashes = ["--quiet", "--require-hashes"]
    with tempfile.TemporaryDirectory() as scratch:
        of_uv = os.path.join(scratch, "uv.txt")
        with open(of_uv, "w") as file:
            file.write(uv_requirement())
        steps = [
            [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"] + with_hashes + ["-r", of_uv],
            # Compile now: compiling takes half of XTuner's and pandas' import time, and some machines cannot cache it.
            [PYTHON, "-m", "uv", "pip", "install", "--compile-bytecode", "--python", PYTHON]
            + with_hashes
            + ["-r", LOCK],
        ]
        if not os.path.exists(PYTHON):
            steps.insert(0, [python, "-m", "venv", VENV])
        for step in steps:
            if subprocess.call(step) != 0:
                fail(f"安装没有完成：{' '.join(step)}", f"installation failed at: {' '.join(step)}")
    with open(STAMP, "w") as file:
        file.write(requirements_digest())


def uv_requirement() -> str:
    """Return the pinned uv of requirements.lock, with its hashes."""
    with open(LOCK, encoding="utf-8") as file:
        return next(part for part in re.split(r"\n(?=\S)", file.read()) if part.startswith("uv=="))


def access_token() -> str:
    """Return the access token: the environment's, else a new one. Exits with one line if it is too weak."""
    chosen = os.environ.get(ACCESS_TOKEN, "")
    if chosen and (len(chosen) < SHORTEST_TOKEN or not re.match(r"[A-Za-z0-9_-]+$", chosen)):
        fail(
            f"{ACCESS_TOKEN} 不可用：至少 {SHORTEST_TOKEN} 个字母、数字、- 或 _；不设则每次启动随机生成",
            f"{ACCESS_TOKEN} is invalid: use at least {SHORTEST_TOKEN} letters, digits, - or _; if unset, a new one is created at each start",
        )
    return chosen or secrets.token_urlsafe(24)


def check_proxy() -> None:
    """Exit with one line if a web proxy's host name is invalid."""
    for name in os.environ.get(PROXY, "").split(","):
        if not re.match(r"([A-Za-z0-9_.-]+(:[0-9]{1,5})?)?$", name.strip()):
            fail(
                f"代理名称 {name[:60]!r} 不可用：只写主机名，例如 make run PROXY=studio.example.org",
                f"the proxy {name[:60]!r} is invalid: give only its host name, e.g. make run PROXY=studio.example.org",
            )


def run(port: int) -> NoReturn:
    """Serve the app on 127.0.0.1."""
    check_proxy()
    token = access_token()
    check_port(port)
    setup()
    os.environ[ACCESS_TOKEN] = token
    print(f"\n  XTuner Studio   http://127.0.0.1:{port}")
    print("  不是你自己的连接要用带令牌的地址 / connections that are not your own need the address with the token:")
    print(f"  http://127.0.0.1:{port}/?token={token}")
    print("  在自己电脑的终端里 / in a terminal on your own computer:")
    print(f"  ssh -CN -L {port}:127.0.0.1:{port} -p PORT USER@HOST\n", flush=True)
    os.chdir(PROJECT)
    os.execv(PYTHON, [PYTHON, "-m", "streamlit", "run", "app.py", "--server.port", str(port)])


def test() -> None:
    """Run all checks: style, then every test."""
    setup()
    os.chdir(PROJECT)
    # Parallel runs on few cores: one thread each, without busy waiting.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # The tests start hundreds of processes: with cached bytecode, the project imports in two thirds of the time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Tests spend half of their time waiting for processes and browsers, and some workers all for the demo.
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    workers = max(1, min(5 * (os.cpu_count() or 1) // 2, MOST_WORKERS, memory // GB_PER_WORKER))
    tests = ["pytest", "-rs", "-n", str(workers)]
    for step in (["ruff", "check", "."], ["ruff", "format", "--check", "."], tests):
        code = subprocess.call([PYTHON, "-m"] + step)
        if code != 0:
            sys.exit(code)


def bench() -> None:
    """Run all benchmarks, one after another."""
    setup()
    os.chdir(PROJECT)
    sys.exit(subprocess.call([PYTHON, "-m", "benchmarks"]))


def fuzz() -> None:
    """Feed damaged files to the readers of foreign files."""
    setup()
    os.chdir(PROJECT)
    sys.exit(subprocess.call([PYTHON, "-m", "tests.fuzz"]))


def mutants(arguments: List[str]) -> None:
    """Wrong lines on purpose, by a tool in an environment of its own."""
    setup()
    os.chdir(PROJECT)
    place = os.path.join(PROJECT, ".mutants", "venv")
    python, stamp = os.path.join(place, "bin", "python"), os.path.join(place, ".requirements.sha256")
    requirements = os.path.join(PROJECT, "tests", "mutants", "requirements.txt")
    with open(requirements, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    try:
        with open(stamp) as file:
            made = file.read() == digest
    except OSError:
        made = False
    if not made:
        packages = ["--quiet", "--no-deps", "--require-hashes", "-r", requirements]
        for step in (
            [PYTHON, "-m", "venv", "--clear", place],
            [python, "-m", "pip", "install", "--disable-pip-version-check"] + packages,
        ):
            if subprocess.call(step) != 0:
                fail(f"安装没有完成：{' '.join(step)}", f"installation failed at: {' '.join(step)}")
        with open(stamp, "w") as file:
            file.write(digest)
    sys.exit(subprocess.call([python, "-m", "tests.mutants"] + arguments))


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(int(sys.argv[2]))
    elif sys.argv[1] == "test":
        test()
    elif sys.argv[1] == "bench":
        bench()
    elif sys.argv[1] == "fuzz":
        fuzz()
    elif sys.argv[1] == "mutants":
        mutants(sys.argv[2:])
    else:
        setup()
