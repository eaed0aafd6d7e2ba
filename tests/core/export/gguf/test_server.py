"""How llama.cpp is started. test_verification asks the real one for answers."""

import sys
from types import SimpleNamespace

from core.export.gguf.server import LlamaCpp
from core.ground import cores


def test_it_takes_no_more_processors_than_are_there_for_us(monkeypatch, tmp_path):
    started = []
    params = SimpleNamespace(model=SimpleNamespace(), cpuparams=SimpleNamespace())
    stand_in = SimpleNamespace(CommonParams=lambda: params, Server=started.append)
    monkeypatch.setitem(sys.modules, "xllamacpp", stand_in)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(cores, "usable", lambda: 3)
    LlamaCpp(tmp_path / "x.gguf", tmp_path, 512)
    assert started[0].cpuparams.n_threads == 3
