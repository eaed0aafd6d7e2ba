"""Opens a page of the app like a user, through `app.py`, in a process without a browser."""

from typing import Any

from streamlit.testing.v1 import AppTest

from core.ground.workspace import PROJECT

NUMBERS = {"setup": 1, "dataset": 2, "config": 3, "train": 4, "export": 5, "chat": 6, "report": 7}
# For a slow and busy machine.
SECONDS = 120.0


def open_page(name: str, opened: dict[str, Any] | None = None, **query: str) -> AppTest:
    """Return the page `name`, drawn; fails the test if it raised an exception. `opened`: expanders and tabs, by key."""
    app = AppTest.from_file(str(PROJECT / "app.py"), default_timeout=SECONDS)
    for key, value in query.items():
        app.query_params[key] = value
    for key, value in (opened or {}).items():
        app.session_state[key] = value
    app.switch_page(f"pages/{NUMBERS[name]}_{name}.py").run()
    assert not app.exception, app.exception
    return app


def lid(app: AppTest, key: str) -> AppTest:
    """Return the page with the expander `key` open: its contents are drawn only then."""
    app.session_state[key] = True
    app.run()
    assert not app.exception, app.exception
    return app


def tab(app: AppTest, key: str, label: str) -> AppTest:
    """Return the page with the tab `label` of `key` open: of such tabs only the open one is drawn."""
    app.session_state[key] = label
    app.run()
    assert not app.exception, app.exception
    return app


def texts(app: AppTest) -> str:
    """Return all text on the screen outside of tables, one element per line."""
    kinds = ("markdown", "caption", "text", "info", "success", "warning", "error", "title", "header", "code")
    found = [element.value for kind in kinds for element in getattr(app, kind)]
    found += [element.proto.text for element in app.get("progress")]
    return "\n".join(map(str, found))


def primary(app: AppTest) -> list[str]:
    """Return the labels of the primary buttons outside of popovers: a page has one, the next step."""
    closed = {id(button.proto) for popover in app.get("popover") for button in popover.button}
    return [button.label for button in app.button if button.proto.type == "primary" and id(button.proto) not in closed]


def cells(app: AppTest) -> str:
    """Return all text in the tables on the screen, one cell per line."""
    return "\n".join(str(cell) for table in app.table for row in table.value.values for cell in row)
