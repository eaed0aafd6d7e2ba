"""Opens a page of the app as a user does, through `app.py`, in a process without a browser."""

from streamlit.testing.v1 import AppTest

from core.ground.workspace import PROJECT

NUMBERS = {"setup": 1, "dataset": 2, "config": 3, "train": 4, "export": 5, "chat": 6, "report": 7}
SECONDS = 30.0


def open_page(name: str, **query: str) -> AppTest:
    """The page `name`, drawn; fails the test where it raised."""
    app = AppTest.from_file(str(PROJECT / "app.py"), default_timeout=SECONDS)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    app.switch_page(f"pages/{NUMBERS[name]}_{name}.py").run()
    assert not app.exception, app.exception
    return app


def lid(app: AppTest, key: str) -> AppTest:
    """The page with the lid `key` open: what is under it is drawn only then."""
    app.session_state[key] = True
    app.run()
    assert not app.exception, app.exception
    return app


def texts(app: AppTest) -> str:
    """All words on the screen that are not in a table, one element a line."""
    kinds = ("markdown", "caption", "text", "info", "success", "warning", "error", "title", "subheader", "code")
    found = [element.value for kind in kinds for element in getattr(app, kind)]
    found += [element.proto.text for element in app.get("progress")]
    return "\n".join(map(str, found))


def primary(app: AppTest) -> list[str]:
    """The labels of the primary buttons outside of popovers: of a page's buttons one, the next step."""
    closed = {id(button.proto) for popover in app.get("popover") for button in popover.button}
    return [button.label for button in app.button if button.proto.type == "primary" and id(button.proto) not in closed]


def cells(app: AppTest) -> str:
    """All words in the tables on the screen, one cell a line."""
    return "\n".join(str(cell) for table in app.table for row in table.value.values for cell in row)
