"""What a box keeps of its remote configuration, over restarts, damage and a full disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from box.remote.state import RESET, STATE, Remote, model_path, read_memory
from uplink.configuration import ConfigError
from uplink.remote import Desired, ModelFile, seal

STATION = "XX.ONE"
LOCAL: dict[str, Any] = {
    "station": {"id": STATION, "latitude": 1, "longitude": 2},
    "source": {"type": "miniseed", "path": "waveforms"},
    "broker": {"url": "mqtt://me:geheim@here"},
    "archive": {"path": "sds"},
}
MODEL = ModelFile(sha256="a" * 64, size=1, card_sha256="b" * 64, card_size=1)


def box(folder: Path, local: dict[str, Any] = LOCAL) -> Remote:
    """The process begins."""
    remote = Remote(folder, local, lambda: 5, None)
    remote.take_up()
    return remote


def hear(remote: Remote, version: int, **content: Any) -> Desired | None:
    return remote.hear(seal(Desired(version=version, **content), STATION), STATION)


def put_on_trial(remote: Remote, version: int, **content: Any) -> None:
    assert hear(remote, version, **content) is not None
    assert remote.begin([STATION])


def test_changes_are_laid_over_the_file_and_only_over_it(tmp_path: Path) -> None:
    remote = box(tmp_path)
    put_on_trial(remote, 1, changes={"picking": {"p_threshold": 0.3}, "archive": {"max_days": 3}})
    remote.accept()
    put_on_trial(remote, 2, changes={"picking": {"merge": "max"}, "source": {"path": "b"}})
    config = remote.effective()
    assert (config.picking.p_threshold, config.picking.merge) == (None, "max")
    assert config.archive is not None
    assert (config.archive.path, config.archive.max_days) == ("sds", 60)
    remote.revert(["why"])
    again = box(tmp_path).effective()
    assert again.picking.p_threshold == 0.3
    assert again.archive is not None
    assert again.archive.max_days == 3


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"data_dir": "/"}, "data_dir: is for the box's own file to say"),
        ({"remote": {"key": None}}, "remote: is for the box's own file to say"),
        ({"station": {"id": "XX.TWO"}}, "station: is for the box's own file to say"),
        ({"seedlink_server": {"host": "0.0.0.0"}}, "seedlink_server: is for the box's own"),
        ({"archive": {"path": "/etc"}}, "archive.path: is for the box's own file to say"),
        ({"picking": {"picker": "/x"}}, "picking.picker: is for the box's own file to say"),
        ({"picking": {"p_treshold": 0.3}}, "picking.p_treshold: unknown field"),
        ({"picking": 5}, "picking: expected a mapping"),
        ({"archive": {"path": None}}, "archive.path: is for the box's own file to say"),
        ({"source": {"type": "modem"}}, "source.type: 'modem' is none of"),
    ],
)
def test_what_is_not_to_be_said_from_afar_is_refused(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        box(tmp_path).configuration(Desired(version=1, changes=changes))
    assert caught.value.problems[0].startswith(complaint)


def test_a_process_that_ends_under_trial_has_failed_it_unless_it_was_told_to_stop(
    tmp_path: Path,
) -> None:
    remote = box(tmp_path)
    put_on_trial(remote, 1, changes={"reorder_s": 1})
    remote.stop()
    remote = box(tmp_path)
    assert remote.on_trial is not None
    remote.go_on()
    remote = box(tmp_path)  # killed
    assert (remote.on_trial, remote.in_force) == (None, None)
    assert remote.memory.refusal is not None
    assert remote.memory.refusal.problems == ["the box ended during the trial"]
    assert hear(remote, 1, changes={"reorder_s": 1}) is None  # which the broker still holds


def test_what_cannot_run_is_left_for_what_could(tmp_path: Path) -> None:
    remote = box(tmp_path)
    put_on_trial(remote, 1, changes={"reorder_s": 1})
    remote.accept()
    put_on_trial(remote, 2, changes={"reorder_s": 3})
    remote.runs = True
    assert remote.fall_back(ValueError("boom"))  # a trial has failed whenever that happens
    assert remote.effective().reorder_s == 1
    assert not remote.fall_back(OSError("disk full"))  # which is not the document's fault
    remote.runs = False
    assert remote.fall_back(ValueError("its model is gone"))
    assert remote.effective().reorder_s == 2
    assert not remote.fall_back(ValueError("its own file"))
    assert remote.memory.refusal is not None
    assert remote.memory.refusal.problems == ["does not run: its model is gone"]


def test_a_file_that_has_changed_under_a_document_counts_alone_where_they_do_not_fit(
    tmp_path: Path,
) -> None:
    remote = box(tmp_path)
    put_on_trial(remote, 1, changes={"archive": {"max_days": 3}})
    remote.accept()
    bare = {name: value for name, value in LOCAL.items() if name != "archive"}
    remote = box(tmp_path, bare)
    with pytest.raises(ConfigError) as caught:
        remote.effective()
    assert remote.fall_back(caught.value)
    assert remote.effective().archive is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"newest": "x"}', b"\xff"])
def test_a_damaged_note_is_set_aside_and_the_file_counts(tmp_path: Path, content: bytes) -> None:
    remote = box(tmp_path)
    put_on_trial(remote, 1, changes={"reorder_s": 1})
    remote.accept()
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(ConfigError):
        read_memory(tmp_path)
    remote = box(tmp_path)
    assert remote.effective().reorder_s == 2
    assert hear(remote, 1, changes={"reorder_s": 1}) is not None  # the broker tells it again


def test_what_cannot_be_written_down_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = box(tmp_path)
    assert hear(remote, 1, changes={"reorder_s": 1}) is not None

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert not remote.begin([STATION])
    assert remote.in_force is None
    report = remote.report(remote.effective())
    assert (report.state, report.version) == ("refused", 0)
    assert report.problems == [f"{tmp_path / STATE}: No space left on device"]


def test_a_replay_that_was_refused_does_not_make_the_document_in_force_old(tmp_path: Path) -> None:
    remote = box(tmp_path)
    put_on_trial(remote, 7, changes={"reorder_s": 1})
    remote.accept()
    assert hear(remote, 5) is None
    assert hear(remote, 7, changes={"reorder_s": 1}) is None  # told again with each connection
    report = remote.report(remote.effective())
    assert (report.state, report.version, report.newest) == ("refused", 7, 7)
    assert report.problems == ["version: 5 is not above 7, the newest so far"]


def test_a_box_that_does_not_come_up_any_more_can_be_reset(tmp_path: Path) -> None:
    remote = box(tmp_path)
    put_on_trial(remote, 1, changes={"reorder_s": 1})
    remote.accept()
    (tmp_path / RESET).touch()
    remote = box(tmp_path)
    assert (remote.in_force, (tmp_path / RESET).exists()) == (None, False)
    assert remote.memory.refusal is not None
    assert remote.memory.refusal.problems == ["reset at the box"]
    assert hear(remote, 1, changes={"reorder_s": 1}) is None  # the broker still has it
    assert hear(remote, 2, changes={"reorder_s": 1}) is not None


def test_what_is_reported_names_models_and_no_secret(tmp_path: Path) -> None:
    remote = box(tmp_path)
    put_on_trial(remote, 1, models={"picker": MODEL})
    report = remote.report(remote.effective())
    assert (report.state, report.models) == ("trial", {"picker": MODEL})
    assert b"geheim" not in msgspec.json.encode(report)
    assert remote.effective().picking.picker == str(model_path(tmp_path, MODEL))
    assert (tmp_path / STATE).stat().st_mode & 0o777 == 0o600
