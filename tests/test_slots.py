"""Slots of one machine among processes that know nothing of each other."""

import pwd
import subprocess
import sys

import pytest
from fault_tools import ROOT

from bench.errors import UserError
from bench.workers import slots


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv(slots.FOLDER, str(tmp_path))


def wanted():
    return True


class Asked:
    """Somebody who waits for so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> bool:
        self.looks -= 1
        return self.looks >= 0


def test_who_comes_second_gets_another_slot_and_a_slot_given_back_is_had_again():
    with slots.one_of(["cpu:0", "cpu:1"], wanted) as first, slots.one_of(["cpu:0", "cpu:1"], wanted) as second:
        assert (first, second) == ("cpu:0", "cpu:1")
    with slots.one_of(["cpu:0", "cpu:1"], wanted) as again:
        assert again == "cpu:0"


def test_a_user_without_a_name_as_in_a_container_has_slots_too(monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)

    def knows_nobody(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", knows_nobody)
    with slots.one_of(["cpu:0"], wanted) as slot:
        assert slot == "cpu:0"


def test_nobody_gets_a_slot_while_one_holds_them_all():
    with slots.all_of(["cpu:1", "cpu:0"], wanted), pytest.raises(slots.Unwanted):
        slots.one_of(["cpu:0", "cpu:1"], Asked(2)).__enter__()


def test_who_wants_them_all_waits_for_the_last():
    with slots.one_of(["cpu:1"], wanted), pytest.raises(slots.Unwanted):
        slots.all_of(["cpu:0", "cpu:1"], Asked(2)).__enter__()
    with slots.all_of(["cpu:0", "cpu:1"], Asked(2)):
        pass


def test_whoever_wants_a_slot_again_has_it_after_the_one_that_waits():
    first, second, again = (slots.Claim(["cpu:0"]) for _ in range(3))
    assert first.is_held()
    assert not second.is_held()
    first.release()
    assert not again.is_held()
    assert second.is_held()
    second.release()
    assert again.is_held()
    again.release()


def test_two_that_want_them_all_have_them_one_after_the_other_however_they_are_named():
    busy = slots.Claim(["cpu:1"])
    first, second = slots.Claim(["cpu:0", "cpu:1"]), slots.Claim(["cpu:1", "cpu:0"])
    assert busy.is_held()
    assert (first.is_held(), second.is_held()) == (False, False)
    busy.release()
    assert (second.is_held(), first.is_held()) == (False, True)
    first.release()
    assert second.is_held()
    second.release()


def test_a_folder_that_cannot_hold_locks_is_said_in_a_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(slots.FOLDER, str(tmp_path / "file"))
    with pytest.raises(UserError, match=f"file: File exists; let {slots.FOLDER} name a folder"):
        slots.Claim(["cpu:0"])


def test_a_killed_process_gives_its_slot_back():
    script = (
        "import sys, time; from bench.workers import slots\n"
        "with slots.one_of(['cpu:0'], lambda: True): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(slots.Unwanted):
            slots.one_of(["cpu:0"], Asked(2)).__enter__()
        other.kill()
        other.wait()
    with slots.one_of(["cpu:0"], wanted) as slot:
        assert slot == "cpu:0"
