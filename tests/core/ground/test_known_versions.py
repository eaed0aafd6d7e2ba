"""Which versions are compatible, according to the failures seen in the course."""

import pytest

from core.ground import environment
from core.ground.known_versions import KNOWN, clash, untested

COURSE = {
    "python": "3.10.13",
    "xtuner": "0.1.21",
    "torch": "2.1.2",
    "torchvision": "0.16.2",
    "transformers": "4.39.3",
    "peft": "0.11.1",
    "accelerate": "0.30.1",
    "setuptools": "79.0.1",
    "numpy": "1.26.4",
    "datasets": "2.21.0",
    "deepspeed": "0.14.4",
    "bitsandbytes": "0.45.5",
    "mmengine": "0.10.7",
}


def test_ours_and_the_repaired_course_are_known_to_work():
    for versions in (environment.versions(), COURSE):
        assert [(name, clash(name, versions)) for name in versions if clash(name, versions)] == []
        assert [name for name in versions if untested(name, versions)] == []


@pytest.mark.parametrize(
    ("package", "version", "words"),
    [
        ("peft", "0.21.2", "EncoderDecoderCache"),
        ("accelerate", "1.15.0", "accelerate==0.30.1"),
        ("setuptools", "82.0.0", "pkg_resources"),
        ("numpy", "2.4.6", "numpy<2"),
        ("torchvision", "0.20.1", "0.16"),
        ("torchvision", "0.20.1+cpu", "nms"),
        ("xtuner", "1.0.0", "1.x"),
    ],
)
def test_what_fails_says_what_to_do(package, version, words):
    hint = clash(package, {**COURSE, package: version})
    assert words in hint.zh
    assert words in hint.en


def test_untested_is_no_fault():
    hint = untested("torch", {**COURSE, "torch": "2.4.0"})
    assert "2.1.2" in hint.zh
    assert "2.5.1" in hint.en
    assert untested("torch", {"torch": "2.5.1+cu124"}) is None
    assert untested("torch", {"torch": None}) is None
    assert untested("flash-attn", {"flash-attn": "2.0"}) is None


@pytest.mark.parametrize("version", ["unknown", "", "git-abc", None])
def test_a_version_that_is_none(version):
    for package in KNOWN:
        assert clash(package, {**COURSE, package: version}) is None
        untested(package, {**COURSE, package: version})
