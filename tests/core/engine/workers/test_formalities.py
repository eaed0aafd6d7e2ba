"""What is skipped before a training: formatting, and a figure that nothing is drawn in."""

import pytest

from core.engine.workers.formalities import leave_out_formalities


@pytest.fixture
def mmengine(monkeypatch):
    from mmengine.config import config
    from mmengine.visualization import Visualizer

    monkeypatch.setattr(config, "FormatCode", config.FormatCode)
    monkeypatch.setattr(Visualizer, "_initialize_fig", Visualizer._initialize_fig)
    return config


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_config_is_written_with_the_same_content(mmengine, tmp_path):
    text = "a = dict(type='X', words=['one', 'two'], deep=dict(n=1e-4, none=None))\nb = (1, 2)\nlong = " + repr(
        "x" * 300
    )
    (tmp_path / "config.py").write_text(text + "\n", encoding="utf-8")
    given = mmengine.Config.fromfile(tmp_path / "config.py")
    leave_out_formalities(text)
    given.dump(tmp_path / "written.py")
    assert mmengine.Config.fromfile(tmp_path / "written.py").to_dict() == given.to_dict()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("text", "prepared"), [("visualizer = None", False), ("dict(type=DetVisualizationHook)", True)]
)
@pytest.mark.usefixtures("mmengine")
def test_a_figure_only_where_something_is_drawn(text, prepared, tmp_path):
    from mmengine.visualization import Visualizer

    leave_out_formalities(text)
    made = Visualizer(vis_backends=[{"type": "LocalVisBackend"}], save_dir=str(tmp_path))
    assert (made.fig_save_canvas is not None) == prepared
    made.add_scalar("loss", 0.5, step=1)
    made.close()
    assert "0.5" in "".join(file.read_text() for file in tmp_path.rglob("*.json"))
