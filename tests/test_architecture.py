"""The rules of the architecture, checked in the source: permitted imports, and the length of files."""

import ast
import sys
import tokenize
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
CORE, PAGES = PROJECT / "core", PROJECT / "pages"
# In the order of the work: a room knows only the rooms before it.
ROOMS = "ground jobs engine models data config forecast training export chat report publish".split()
# Above all rooms: the headless commands, the demo, and what chat gives to data.
ROOFS = {"core/__main__.py", "core/demo.py", "core/replay.py", "core/teaching.py", "core/__init__.py"}
HEAVY = {"torch", "transformers", "peft", "datasets", "mmengine", "xtuner", "deepspeed", "bitsandbytes", "safetensors"}
# Code that runs in the engine's interpreter, which may be the user's own.
WORKERS = CORE / "engine" / "workers"
# The part of `ground` that needs only the standard library and Python 3.10, so that workers may import it.
GROUND_OF_WORKERS = {
    "agreed_code",
    "figures",
    "files",
    "garbage",
    "identity",
    "kept_answers",
    "model_code",
    "progress",
    "text",
}
SCREENS = ("setup", "dataset", "config", "train", "export", "chat", "report")
# Shared by the screens: between the browser and Streamlit.
SERVER = "server"
# Subjects of tests about a room as a whole: the command line, XTuner's presets through the form, data from a file to
# XTuner's loader, foreign and malicious files, the texts of the pages, the theme, figures that several places show.
WHOLE_ROOM = {
    "commands_table",
    "presets",
    "round_trip",
    "others_files",
    "hostile",
    "published",
    "locales",
    "theme",
    "said_once",
}
MOST_LINES = {"core": 300, "components": 300, "pages": 120}
# A single table, which would be harder to read if split.
TABLES = {"core/config/settings/fields.py": 560, "core/forecast/findings.py": 360}


def files(*directories: Path) -> list[Path]:
    return sorted(path for directory in directories for path in directory.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def each(paths: Iterable[Path]) -> Callable[[Callable[[Path], None]], Callable[[], None]]:
    """Return how a rule for one file becomes a test of all `paths`: three thousand tests took longer than looking."""

    def of_all(rule: Callable[[Path], None]) -> Callable[[], None]:
        def test() -> None:
            wrong = []
            for path in paths:
                try:
                    rule(path)
                except AssertionError as broken:
                    wrong.append(f"{name(path)}: {broken}")
            assert not wrong, "\n".join(wrong)

        test.__doc__ = rule.__doc__
        return test

    return of_all


@cache
def imports(path: Path) -> frozenset[str]:
    """Return every module that a file imports, anywhere in it: `from a.b import c` gives `a.b` and `a.b.c`."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: imports are absolute here"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("__import__", "importlib.import_module"):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return frozenset(found)


def packages(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imports(path)}


def test_there_is_something_to_look_at():
    assert len(files(CORE)) > 40
    assert {path.name for path in CORE.iterdir() if path.is_dir() and path.name != "__pycache__"} == {
        *ROOMS,
        "headless",
    }


@each(files(CORE))
def test_core_knows_no_widgets(path):
    assert not {"streamlit", "pages", "tests", "app", "plotly"} & packages(path)


@each([*files(CORE, PAGES), *PROJECT.glob("app.py")])
def test_only_the_workers_load_the_engine(path):
    """Everything else runs in the process of the pages."""
    if path.parent != WORKERS:
        assert not HEAVY & packages(path)


@each([path for path in files(CORE) if name(path) not in ROOFS and path.parent.name != "headless"])
def test_a_room_knows_only_the_rooms_before_it(path):
    room = path.relative_to(CORE).parts[0]
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "core" and len(parts) > 1:
            assert parts[1] in allowed, f"{name(path)} imports {module}"


@each(files(WORKERS))
def test_a_worker_stands_alone(path):
    for module in {module for module in imports(path) if module.partition(".")[0] == "core"}:
        parts = module.split(".")
        assert parts[:3] == ["core", "engine", "workers"] or (
            parts[:2] == ["core", "ground"] and (len(parts) == 2 or parts[2] in GROUND_OF_WORKERS)
        ), f"{name(path)} imports {module}"
    assert not {"psutil", "libcst", "pynvml"} & packages(path)
    # Python 3.10 is the version in the course's own environment.
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def _with_all_it_imports(path: Path) -> set[Path]:
    """Return a worker with all workers it imports, directly and indirectly."""
    found, waiting = set(), [path]
    while waiting:
        found.add(one := waiting.pop())
        parts = (module.split(".") for module in imports(one) if module.startswith("core.engine.workers."))
        waiting += {place for words in parts if (place := WORKERS / f"{words[3]}.py").is_file()} - found
    return found


@each([path for path in files(WORKERS) if '__name__ == "__main__"' in path.read_text(encoding="utf-8")])
def test_a_worker_that_loads_models_lets_no_other_code_in(path):
    sources = [one.read_text(encoding="utf-8") for one in _with_all_it_imports(path)]
    trains = any(module.startswith("xtuner.tools") for module in imports(path))
    if trains or any("Auto" in source and ".from_pretrained(" in source for source in sources):
        closing = [one for one in _with_all_it_imports(path) if "code_gate.close()" in one.read_text(encoding="utf-8")]
        assert closing, f"{name(path)} loads models and never calls code_gate.close()"


# Here the user's name of a model is shown, searched by or restored. Everything else takes `models/<name>`, which leads
# to the trusted copy.
OWNERS_DIRECTORY = {
    "core/config/named.py", "core/headless/models.py", "core/models/family.py",
    "core/models/model.py", "core/models/trust.py", "core/report/preparation.py", "pages/components/setup/models.py",
    "pages/components/setup/sources.py",
}  # fmt: skip


def test_where_a_linked_model_comes_from_is_no_place_to_load_it_from():
    asking = {
        name(path)
        for path in files(CORE, PAGES)
        if "core.models.agreed" in imports(path) or ".linked_to" in path.read_text(encoding="utf-8")
    }
    assert asking <= {*OWNERS_DIRECTORY, "core/models/agreed.py"}


@pytest.mark.parametrize("module", sorted(GROUND_OF_WORKERS))
def test_what_workers_know_of_the_ground_is_the_standard_library(module):
    path = CORE / "ground" / f"{module}.py"
    ours = {one for one in imports(path) if one.startswith("core.")}
    assert packages(path) <= sys.stdlib_module_names | {"core"}
    assert {one.split(".")[2] for one in ours} <= GROUND_OF_WORKERS
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


def test_one_module_names_the_progress_file():
    """So that there is only one way to write it."""
    naming = [name(path) for path in files(CORE, PAGES) if "XTUNER_STUDIO_PROGRESS" in path.read_text(encoding="utf-8")]
    assert naming == ["core/ground/progress.py"]


@each([*files(CORE, PAGES), *PROJECT.glob("app.py")])
def test_workers_are_started_never_imported(path):
    if path.parent != WORKERS:
        assert not any(module.startswith("core.engine.workers") for module in imports(path)), name(path)


# Before there is an environment to run in; and in one that has already been prepared.
STARTING_ELSEWHERE = {"core/ground/bootstrap.py", "core/ground/inherited.py"}


@each([path for path in files(CORE, PAGES) if path.parent != WORKERS and name(path) not in STARTING_ELSEWHERE])
def test_a_process_is_started_with_what_it_may_inherit_alone(path):
    """By `inherited`, so that no secret in the user's environment reaches an engine."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("subprocess.", "os.exec", "os.spawn")):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}.get("env", "")
            assert "inherited(" in given or given in ("environment", "_environment(coming)"), ast.unparse(node)[:200]
        # Nor is the entire environment passed on in another way.
        assert not (isinstance(node, ast.Dict) and None in node.keys and "os.environ" in map(ast.unparse, node.values))
        assert not (isinstance(node, ast.Call) and ast.unparse(node) in ("os.environ.copy()", "dict(os.environ)"))


def test_no_circle():
    """Neither between files nor, therefore, between rooms; including imports within a room and within a function."""
    modules = {name(path)[:-3].replace("/", "."): path for path in files(CORE, PAGES)}
    left = {module: imports(path) & modules.keys() - {module} for module, path in modules.items()}
    while free := [module for module, wanted in left.items() if not wanted & left.keys()]:
        for module in free:
            del left[module]
    assert not left, sorted(left)


@each(files(PAGES / "components"))
def test_a_screen_knows_no_other_screen(path):
    """What two screens share is outside of their rooms and knows neither."""
    own = path.relative_to(PAGES / "components").parts[0]
    for module in imports(path):
        parts = module.split(".")
        if parts[:2] == ["pages", "components"] and len(parts) > 2 and parts[2] in SCREENS:
            assert parts[2] == own, f"{name(path)} imports {module}"


def test_the_rooms_of_the_components_are_the_screens():
    rooms = {path.name for path in (PAGES / "components").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == {*SCREENS, SERVER}
    assert {path.stem for path in (PAGES / "locales" / "zh").glob("*.toml")} == {*SCREENS, "frame"}


def test_every_test_stands_where_its_room_stands():
    """And is named after its module, a page's without the number, unless it is about a room as a whole."""
    for path in files(PROJECT / "tests" / "core", PROJECT / "tests" / "pages"):
        room = PROJECT / path.parent.relative_to(PROJECT / "tests")
        assert room.is_dir(), f"{name(path)}: there is no {room}"
        subject = path.stem.removeprefix("test_")
        if subject != path.stem and subject not in WHOLE_ROOM:
            assert list(room.glob(f"{subject}.py")) or list(room.glob(f"[0-9]_{subject}.py")), f"{name(path)}: of what?"


@each(files(PAGES))
def test_page_imports_no_page(path):
    for module in imports(path):
        parts = module.split(".")
        assert parts[0] != "app"
        if parts[0] == "pages" and len(parts) > 1:
            assert parts[1] in ("components", "locales"), f"{name(path)} imports {module}"


@each(files(CORE, PAGES))
def test_size(path):
    kind = "core" if path.is_relative_to(CORE) else "components" if path.parent != PAGES else "pages"
    with tokenize.open(path) as file:
        lines = sum(1 for _ in file)
    assert lines <= TABLES.get(name(path), MOST_LINES[kind])


@each(files(CORE, PAGES))
def test_file_is_a_noun_and_says_what_it_is(path):
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "manager", "misc", "base"}
    if path.name != "__init__.py":
        assert ast.get_docstring(tree(path)), "a module says what it is"
    else:
        assert not path.read_text(encoding="utf-8").strip() or ast.get_docstring(tree(path))


def test_no_command_goes_through_a_shell():
    """Commands are argument lists."""
    for path in files(CORE, PAGES):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                assert not any(keyword.arg == "shell" for keyword in node.keywords), name(path)
                assert ast.unparse(node.func) not in ("os.system", "os.popen", "subprocess.getoutput"), name(path)


def test_pages_are_in_the_order_of_the_work():
    found = sorted(path.name for path in PAGES.glob("[0-9]*.py"))
    order = ["setup", "dataset", "config", "train", "export", "chat", "report"]
    assert found == [f"{number}_{page}.py" for number, page in enumerate(order, 1)][: len(found)]
