"""A real Slurm of two nodes on this machine, with its own configuration, key and ports in one directory.

It ends exactly the daemons that it started. Nothing is read from or written to /etc; every Slurm command finds this
cluster through the variable SLURM_CONF.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port

NODES = ("n1", "n2")
PARTITION = "lab"
_DAEMONS = ("munged", "slurmctld", "slurmd")
_SBIN = "/usr/sbin:/sbin"


def missing() -> str | None:
    """Return why Slurm cannot run here; None if it can."""
    lacking = [
        name for name in (*_DAEMONS, "sbatch") if shutil.which(name, path=f"{os.environ['PATH']}:{_SBIN}") is None
    ]
    if lacking:
        return f"no {', '.join(lacking)}: apt-get install slurm-wlm slurm-client munge"
    return None if os.geteuid() == 0 else "slurmd needs root"


@dataclass
class SlurmCluster:
    """The daemons and their directory."""

    root: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def conf(self) -> Path:
        return self.root / "slurm.conf"

    def start(self) -> None:
        """Write the configuration, start all daemons and wait until both nodes are idle."""
        self.root.mkdir(parents=True, exist_ok=True)
        os.chmod(self.root, 0o755)
        key = self.root / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        control, *ports = (free_port("") for _ in range(1 + len(NODES)))
        self.conf.write_text(_configuration(self.root, control, ports))
        self._run("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.root}/munge.socket",
            f"--pid-file={self.root}/munge.pid", f"--log-file={self.root}/munge.log", f"--seed-file={self.root}/munge.seed")  # fmt: skip
        self.wait_for(lambda: (self.root / "munge.socket").exists(), "munged")
        self.start_control()
        for node in NODES:
            self.start_node(node)
        self.wait_for(lambda: self.say("sinfo", "--noheader", "--format=%T").split() == ["idle"], "idle nodes")

    def start_control(self) -> None:
        self._run("slurmctld", "-D")

    def start_node(self, node: str) -> None:
        self._run("slurmd", "-D", "-N", node, name=node)

    def end(self, name: str) -> None:
        """End one daemon, `slurmctld` or a node's, in time to save its state: killed, it would forget a node's return."""
        daemon = self.daemons.pop(name)
        daemon.terminate()
        daemon.wait(120)

    def stop(self) -> None:
        """Cancel what is left, then end every daemon that was started, and the steps that the nodes still run."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.say("scancel", "--state=PENDING")
            self.say("scancel", "--state=RUNNING")
        for name in reversed(list(self.daemons)):
            daemon = self.daemons.pop(name)
            daemon.terminate()
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.send_signal(signal.SIGKILL)
                daemon.wait()

    def say(self, *argv: str) -> str:
        """Run one of Slurm's commands and return its output, errors included."""
        done = subprocess.run(
            argv,
            env={**os.environ, "SLURM_CONF": str(self.conf)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout.strip()

    def queue(self) -> list[str]:
        """Return the state of every job that has not ended."""
        return self.say("squeue", "--noheader", "--format=%T").split()

    def wait_for(self, condition: "object", what: str, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"no {what} after {seconds:.0f} s: {self.logs()}"
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in self.root.glob("*.log"))

    def _run(self, command: str, *options: str, name: str | None = None) -> None:
        path = shutil.which(command, path=f"{os.environ['PATH']}:{_SBIN}")
        with (self.root / f"{name or command}.out.log").open("ab") as log:
            self.daemons[name or command] = subprocess.Popen(
                [str(path), *options],
                env={**os.environ, "SLURM_CONF": str(self.conf)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _configuration(root: Path, control: int, ports: list[int]) -> str:
    host = socket.gethostname().partition(".")[0]
    state = root / "state"
    state.mkdir(exist_ok=True)
    nodes = "\n".join(
        # The nodes' names resolve nowhere: only Slurm knows where they are.
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000 State=UNKNOWN"
        for name, port in zip(NODES, ports, strict=True)
    )
    return f"""
ClusterName=studio
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
SlurmdTimeout=300
KillWait=5
MessageTimeout=60
InactiveLimit=0
MaxJobCount=100
StateSaveLocation={state}
SlurmdSpoolDir={root}/spool.%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.%n.log
{nodes}
PartitionName={PARTITION} Nodes={",".join(NODES)} Default=YES MaxTime=60 State=UP
"""
