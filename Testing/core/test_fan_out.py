"""Many items on workers: what fails fails alone, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from X2BRLogic.errors import InputError
from X2BRLogic.fan_out import ATTEMPTS, fan_out

MIB = 2**20


def _work(folder: Path, item: str) -> str:
    with open(folder / item, "a") as tries:
        tries.write(f"{os.getpid()}\n")
    if item == "raise":
        raise ValueError("two\nlines")
    if item == "bad input":
        raise InputError("the scan is empty; export it again")
    if item == "exit":
        sys.exit(3)
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "die once" and len((folder / item).read_text().split()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "eat":
        pieces = []
        while True:
            pieces.append(bytearray(30 * MIB))
            time.sleep(0.03)
    if item == "hang":
        time.sleep(600)
    if item == "threads":
        import numba
        import torch

        return f"{numba.config.NUMBA_NUM_THREADS} {torch.get_num_threads()}"
    return item.upper()


def test_no_item_stops_the_others(tmp_path, capfd):
    """Exceptions, exits, kill -9 and too much memory each fail with a reason; the rest is done."""
    fine = [f"item {n}" for n in range(8)]
    items = [*fine[:3], "raise", "die", *fine[3:5], "eat", "exit", *fine[5:], "bad input", "die once"]
    outcomes = {o.item: o for o in fan_out(partial(_work, tmp_path), items, workers=2, memory="500 MiB")}

    assert set(outcomes) == set(items)
    assert {outcomes[item].value for item in fine} == {item.upper() for item in fine}
    assert all(outcomes[item].error is None for item in fine)
    assert outcomes["die once"].value == "DIE ONCE"
    assert outcomes["raise"].error.startswith("ValueError: two lines (test_fan_out.py, line ")
    assert outcomes["bad input"].error == "the scan is empty; export it again"
    assert outcomes["exit"].error.startswith("SystemExit: 3")
    for item in ("die", "eat"):
        assert outcomes[item].value is None
        assert f"died {ATTEMPTS} times" in outcomes[item].error and "500 MiB" in outcomes[item].error
        assert len((tmp_path / item).read_text().split()) == ATTEMPTS
    told = capfd.readouterr()
    # VTK, where other tests have used it, warns when its windows are collected in another thread.
    assert told.out == "" and [line for line in told.err.splitlines() if "vtk" not in line] == []


def test_each_worker_has_one_thread_and_ours_stay(tmp_path):
    before = dict(os.environ)
    [outcome] = fan_out(partial(_work, tmp_path), ["threads"])
    assert outcome.value == "1 1"
    assert dict(os.environ) == before


def test_no_items_need_no_worker(monkeypatch):
    monkeypatch.setattr("X2BRLogic.fan_out._local", None)
    assert list(fan_out(str, [])) == []


def test_items_are_taken_as_they_are_needed_and_closing_ends_all(tmp_path):
    taken = []

    def items():
        for n in range(10**9):
            taken.append(n)
            yield "hang" if n == 1 else f"item {n}"

    outcomes = fan_out(partial(_work, tmp_path), items(), workers=2)
    for _ in range(5):
        assert next(outcomes).error is None
    assert len(taken) <= 5 + 2
    children = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    workers = [p for p in children if "spawn_main" in " ".join(p.cmdline())]
    assert len(workers) == 2
    start = time.perf_counter()
    outcomes.close()
    assert time.perf_counter() - start < 5  # one of them was to sleep for ten minutes
    psutil.wait_procs(workers, timeout=3)
    assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in workers)


@pytest.fixture
def a_cluster(tmp_path):
    """The address of a scheduler with two workers, started by Dask's own commands as on a cluster."""
    here = Path(__file__).parent
    quiet = {
        "env": os.environ | {"PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here)])},
        "cwd": tmp_path,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    }
    file = tmp_path / "scheduler.json"
    where = ["--scheduler-file", str(file), "--no-dashboard"]
    command = [sys.executable, "-m", "dask"]
    running = [subprocess.Popen([*command, "scheduler", "--host", "127.0.0.1", "--port", "0", *where], **quiet)]
    options = ["--nworkers", "2", "--nthreads", "1"]
    running.append(subprocess.Popen([*command, "worker", *where, *options], **quiet))
    for _ in range(300):
        if file.exists() and file.stat().st_size:
            break
        time.sleep(0.1)
    yield json.loads(file.read_text())["address"], running[0]
    for process in reversed(running):
        process.kill()
        process.wait()


def test_work_on_a_cluster(tmp_path, a_cluster, capfd):
    """The items are done there; the scheduler outlives the work, and its end is told in one sentence."""
    address, scheduler = a_cluster
    folder = tmp_path / "work"
    folder.mkdir()
    items = ["raise", "die once", *[f"item {n}" for n in range(100)]]
    outcomes = {o.item: o for o in fan_out(partial(_work, folder), items, scheduler=address)}
    assert {o.item for o in outcomes.values() if o.error} == {"raise"}
    assert os.getpid() not in {int(n) for item in items for n in (folder / item).read_text().split()}

    going = fan_out(partial(_work, folder), ["item", "hang"], scheduler=address)
    assert next(going).value == "ITEM"
    scheduler.kill()
    with pytest.raises(InputError, match="scheduler has gone away"):
        next(going)
    assert capfd.readouterr() == ("", "")


def test_a_scheduler_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("X2BRLogic.fan_out._CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 "):
        list(fan_out(partial(_work, tmp_path), ["item"], scheduler="tcp://127.0.0.1:9"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "at least one worker"),
        ({"memory": "plenty"}, "'plenty' is no amount of memory"),
        ({"memory": "4"}, "4 of memory is less than a worker needs"),
    ],
)
def test_bad_arguments_are_told_at_once(options, message):
    with pytest.raises(InputError, match=message):
        fan_out(str, ["a"], **options)
