"""Who else could change a file, through any name on its path, and whether another user really can."""

import os
from pathlib import Path

import pytest

from core.ground import ownership
from core.ground.ownership import exposed
from tests.fakes.users import STRANGER, needs_root, stranger


@pytest.fixture
def place(tmp_path) -> Path:
    """A program in directories that only we can write to."""
    program = tmp_path / "env" / "bin" / "python"
    program.parent.mkdir(parents=True, mode=0o755)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def let_in(place: Path) -> None:
    """Let others enter the directories of a test, without write permission."""
    # Up to pytest's own, one level more if several workers share the tests.
    for above in place.parents[:6]:
        if above.owner() == "root" and above.name != "tmp":
            above.chmod(above.stat().st_mode | 0o055)


def test_ours_and_roots(place):
    assert exposed(place) is None
    assert exposed(Path("/bin/sh")) is None


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("mode", [0o757, 0o777])
def test_what_all_can_write_is_named_with_the_remedy(place, part, mode):
    where = [place, *place.parents][part]
    where.chmod(mode)
    found = exposed(place)
    assert found.path == where
    assert f"chmod go-w {where}" in found.text.en
    assert f"chmod go-w {where}" in found.text.zh
    where.chmod(0o755)
    assert exposed(place) is None


def test_a_sticky_directory_is_as_safe_as_what_lies_in_it(place):
    place.parents[1].chmod(0o1777)
    assert exposed(place) is None
    place.chmod(0o1757)
    # The sticky bit has no meaning on a file.
    assert exposed(place).path == place


def test_links_are_followed_where_they_lead(place, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(Path("env") / ".." / "env" / "bin")
    assert exposed(link / "python") is None
    assert exposed(tmp_path / "env" / ".." / "link" / "python") is None
    place.parent.chmod(0o777)
    assert exposed(link / "python").path == place.parent
    place.parent.chmod(0o755)
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "on_the_way").symlink_to(place)
    assert exposed(tmp_path / "open" / "on_the_way").path == tmp_path / "open"
    (tmp_path / "circle").symlink_to("circle")
    assert exposed(tmp_path / "circle") is None
    assert exposed(tmp_path / "nothing" / "there") is None


def test_a_group_counts_unless_it_is_ours_alone(place, monkeypatch):
    place.parent.chmod(0o775)
    ownership._alone_in.cache_clear()
    monkeypatch.setattr(ownership, "_alone_in", lambda gid: gid == place.parent.stat().st_gid)
    assert exposed(place) is None
    # Permissions granted to others by name in an ACL are not in the mode bits.
    monkeypatch.setattr(ownership, "_has_acl", lambda path: path == place.parent)
    assert exposed(place).path == place.parent
    monkeypatch.setattr(ownership, "_has_acl", lambda _: False)
    monkeypatch.setattr(ownership, "_alone_in", lambda _: False)
    assert exposed(place).path == place.parent


def test_a_group_with_somebody_in_it_is_not_ours_alone():
    class Entry:
        def __init__(self, **values):
            self.__dict__.update(values)

    def alone(name: str, members: list[str], primary: list[str]) -> bool:
        ownership._alone_in.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ownership.pwd, "getpwuid", lambda _uid: Entry(pw_name="me"))
            patch.setattr(ownership.grp, "getgrgid", lambda _gid: Entry(gr_name=name, gr_mem=members))
            patch.setattr(ownership.pwd, "getpwall", lambda: [Entry(pw_name=user, pw_gid=7) for user in primary])
            found = ownership._alone_in(7)
        ownership._alone_in.cache_clear()
        return found

    assert alone("me", [], ["me"])
    assert alone("me", ["me"], [])
    assert alone("staff", [], [])
    assert not alone("staff", ["other"], [])
    assert not alone("me", ["other"], ["me"])
    assert not alone("me", [], ["me", "other"])
    # A group that is every student's primary group need not list any of them.
    assert not alone("students", [], ["me"])


@needs_root
@pytest.mark.parametrize("what", ["program", "directory", "link in a sticky directory"])
def test_what_another_user_owns(place, tmp_path, what):
    """Each is refused, and each could really be replaced by the other user."""
    let_in(place)
    if what == "program":
        os.chown(place, STRANGER, STRANGER)
        asked, swap = place, lambda: place.write_text("#!/bin/sh\nevil\n")
    elif what == "directory":
        os.chown(place.parent, STRANGER, STRANGER)
        asked, swap = place, lambda: place.rename(place.with_name("gone"))
    else:
        shared = tmp_path / "shared"
        shared.mkdir()
        shared.chmod(0o1777)
        asked = shared / "python"
        asked.symlink_to(place)
        os.lchown(asked, STRANGER, STRANGER)
        swap = asked.unlink
    found = exposed(asked)
    assert found.owner == str(STRANGER)
    assert str(STRANGER) in found.text.en
    stranger(swap)


@needs_root
def test_seen_by_another_user_ours_is_not_theirs_to_run(place):
    """What applies to root applies to every user: only their own files and root's."""
    let_in(place)
    assert stranger(lambda: exposed(place)) is None
    os.chown(place, STRANGER + 1, STRANGER)
    assert stranger(lambda: exposed(place)).owner == str(STRANGER + 1)
    assert stranger(lambda: exposed(place), STRANGER + 1) is None
