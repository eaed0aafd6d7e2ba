"""Package versions that are known to work together or to fail, and what to do: a table with a reason per line.

Other versions are reported as untested, without blocking anything. Does not inspect the machine: versions are passed
in.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from core.ground.text import Text

REPAIR = 'pip install peft==0.11.1 accelerate==0.30.1 "setuptools<80" "numpy<2"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The versions of a package with which the complete workflow was run, and what it is for."""

    works: str
    why: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """Versions that fail: `package` in `versions` together with `other` in `with_`; and what to do."""

    package: str
    versions: str
    other: str
    with_: str
    hint: Text


KNOWN = {
    "python": Known(
        works="==3.10.*|==3.11.*|==3.12.*",
        why=Text("课程用 3.10，本应用用 3.11 或 3.12", "3.10 in the course, 3.11 or 3.12 in the app"),
    ),
    "xtuner": Known(works="==0.1.21|==0.2.0", why=Text("课程用 0.1.21，自带的引擎是 0.2.0", "0.1.21 in the course, 0.2.0 in the app's own engine")),
    "torch": Known(works="==2.1.2|==2.5.1", why=Text("2.1.2 配 XTuner 0.1.21，2.5.1 配 0.2.0", "2.1.2 with XTuner 0.1.21, 2.5.1 with 0.2.0")),
    "torchvision": Known(works="==0.16.2|==0.20.1", why=Text("必须和 torch 配套", "must match torch")),
    "transformers": Known(works="==4.39.3|==4.48.0", why=Text("XTuner 0.2.0 指定 4.48.0，课程用 4.39.3", "pinned to 4.48.0 by XTuner 0.2.0, 4.39.3 in the course")),
    "peft": Known(works="==0.11.1|==0.21.2", why=Text("0.11.1 配 transformers 4.39.3", "0.11.1 with transformers 4.39.3")),
    "deepspeed": Known(works="==0.14.4|==0.16.2", why=Text("多进程训练", "multi-process training")),
    "bitsandbytes": Known(works="==0.45.0|==0.45.5", why=Text("QLoRA 的 4 比特量化", "4-bit weights for QLoRA")),
    "mmengine": Known(works="==0.10.6|==0.10.7", why=Text("XTuner 的训练循环", "XTuner's training loop")),
    "datasets": Known(works="==2.21.0|==5.0.1", why=Text("读取数据集", "reads the dataset")),
}  # fmt: skip

CLASHES = (
    Clash(
        package="peft",
        versions=">=0.12",
        other="transformers",
        with_="<4.43",
        hint=Text(
            f"这个 peft 需要更新的 transformers（cannot import name 'EncoderDecoderCache'）：{REPAIR}",
            f"this peft needs a newer transformers (cannot import name 'EncoderDecoderCache'): {REPAIR}",
        ),
    ),
    Clash(
        package="accelerate",
        versions=">=1.0",
        other="transformers",
        with_="<4.43",
        hint=Text(f"和旧的 transformers 不配套：{REPAIR}", f"is incompatible with this older transformers: {REPAIR}"),
    ),
    Clash(
        package="setuptools",
        versions=">=81",
        other="xtuner",
        with_="<=0.1.23",
        hint=Text(f"没有了 XTuner 要用的 pkg_resources：{REPAIR}", f"no longer includes pkg_resources, which XTuner needs: {REPAIR}"),
    ),
    Clash(
        package="numpy",
        versions=">=2",
        other="torch",
        with_="<2.3",
        hint=Text(f"这个 torch 是用 numpy 1 编译的：{REPAIR}", f"this torch was built with numpy 1: {REPAIR}"),
    ),
    Clash(
        package="xtuner",
        versions=">=1",
        other="xtuner",
        with_=">=1",
        hint=Text(
            "1.x 是另一个引擎，没有课程的命令：请安装 0.2.0 或 0.1.21",
            "1.x is a different engine without the course's commands: install 0.2.0 or 0.1.21",
        ),
    ),
)  # fmt: skip


def clash(package: str, versions: Mapping[str, str | None]) -> Text | None:
    """Return what to do about the version of `package` if it is known to fail with the others; else None."""
    for known in CLASHES:
        if (
            known.package == package
            and _in(versions.get(package), known.versions)
            and _in(versions.get(known.other), known.with_)
        ):
            return known.hint
    if package == "torchvision":
        return _torchvision(versions)
    return None


def untested(package: str, versions: Mapping[str, str | None]) -> Text | None:
    """Return a note that the version of `package` is untested, with the tested ones; None for a tested one."""
    known, version = KNOWN.get(package), versions.get(package)
    if known is None or version is None or any(_in(version, one) for one in known.works.split("|")):
        return None
    tried = ", ".join(one.split(",")[0].removeprefix("==") for one in known.works.split("|"))
    return Text(
        f"这个版本没有试过，试过的是 {tried}（{known.why.zh}）：一般可用，出错时换成试过的版本",
        f"untested version; tested: {tried} ({known.why.en}). It may work; if it fails, install a tested one",
    )


def _torchvision(versions: Mapping[str, str | None]) -> Text | None:
    """Check that torch 2.N has torchvision 0.(N + 15): pytorch.org/get-started/previous-versions."""
    torch, vision = _version(versions.get("torch")), _version(versions.get("torchvision"))
    if torch is None or vision is None or torch.major != 2 or vision.minor == torch.minor + 15:
        return None
    wanted = f"0.{torch.minor + 15}"
    return Text(
        f"和 torch {torch.public} 不配套（operator torchvision::nms does not exist）：请安装 torchvision {wanted}",
        f"does not match torch {torch.public} (operator torchvision::nms does not exist): install torchvision {wanted}",
    )


def _in(version: str | None, specifier: str) -> bool:
    found = _version(version)
    return found is not None and SpecifierSet(specifier).contains(found.public, prereleases=True)


def _version(text: str | None) -> Version | None:
    try:
        return Version(text) if text else None
    except InvalidVersion:
        return None
