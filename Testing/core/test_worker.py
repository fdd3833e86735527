"""The worker: what it says, how it ends, and that nothing of it stays behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import trimesh

from X2BRLogic.errors import InputError
from X2BRLogic.worker import Cancelled, Worker, WorkerError, client
from X2BRLogic.worker.exchange import pack, unpack
from X2BRLogic.worker.folders import PREFIX, PrivateFolder
from X2BRLogic.worker.process import default_python
from X2BRLogic.worker.remaining import StageTimes

posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits are POSIX")

#: A worker without networks, whose jobs behave as they are told. Each warns with the number of the process it started.
KINDS = '''
import ctypes, os, re, resource, signal, subprocess, sys, time
from X2BRLogic.errors import InputError
from X2BRLogic.worker.server import serve

def count(job):
    """Ten steps in two stages."""
    step = job.settings.get("seconds", 0.1) / 10
    for n in range(10):
        job.progress(n / 10, "first" if n < 5 else "second")
        time.sleep(step)
    return {"pid": os.getpid(), "sum": sum(job.settings.get("numbers", []))}

def stubborn(job):
    """Never looks up, and has a child in a group of its own."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    job.warn(str(child.pid))
    time.sleep(600)

def locked(job):
    """Holds Python's lock, so that no thread of the worker can hear anything."""
    job.warn(str(os.getpid()))
    re.match("(a+)+$", "a" * 60 + "b")

def backwards(job):
    for fraction in (0.1, 0.6, 0.3, -1.0, 0.7, 2.0):
        job.progress(fraction, f"stage {fraction}")
    return {}

def noisy(job):
    print("print")
    sys.stdout.write('{"event": "result", "job": "1", "facts": {}}' + chr(10))
    os.write(1, b"raw\\n")
    subprocess.run(["echo", "child"])
    ctypes.CDLL(None).puts(b"C")
    return {"stdin": sys.stdin.read() + os.read(0, 9).decode()}

def crash(job):
    os.kill(os.getpid(), getattr(signal, job.settings["signal"]))
    time.sleep(60)

def limit(job):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        (job.folder / "big").write_bytes(bytes(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

def fill(job):
    (job.folder / "big").write_bytes(bytes(job.settings["bytes"]))
    return {}

def fault(job):
    return {"quotient": 1 / 0}

def refuse(job):
    raise InputError("the film is blank; give another")

def nan(job):
    return {"value": float("nan")}

serve({f.__name__: f for f in (count, stubborn, locked, backwards, noisy, crash, limit, fill, fault, refuse, nan)},
      lambda: {"device": "none"})
'''


class Do:
    """A task without files."""

    def __init__(self, kind: str, **settings):
        self.kind, self.settings = kind, settings

    def write(self, folder: Path) -> None:
        (folder / "input").write_bytes(b"something")

    def read(self, folder: Path, facts: dict) -> dict:
        return facts


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """Arguments of `Worker` for the worker above."""
    folder = tmp_path_factory.mktemp("module")
    (folder / "kinds.py").write_text(KINDS)
    return {"module": "kinds", "environment": os.environ | {"PYTHONPATH": str(folder)}}


@pytest.fixture(scope="module")
def shared(module):
    """A worker for tests that do it no lasting harm."""
    with Worker(**module) as worker:
        yield worker


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A place of their own for the private folders of a test."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


@pytest.fixture
def worker(module, temporary):
    """A worker that may be hurt; after the test nothing of it is left."""
    with Worker(**module) as worker:
        yield worker
        pids = [worker.facts["pid"]] if worker.facts else []
    assert not list(temporary.iterdir())
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def gone(pid: int, seconds: float = 3.0) -> bool:
    return until(lambda: not alive(pid), seconds)


def until(condition, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def warned(job) -> int:
    """The number that a job warns with first."""
    found = []
    assert until(lambda: found.extend(e.message for e in job.poll() if e.name == "warning") or found)
    return int(found[0])


# --- what it says -----------------------------------------------------------------------------------------------------


def test_a_job_there_and_back(shared):
    events = []
    value = shared.submit(Do("count", numbers=[1, 2, 3])).wait(events.append)
    assert value["sum"] == 6 and value["pid"] == shared.facts["pid"] and shared.facts["device"] == "none"
    names = [event.name for event in events]
    assert names[0] == "accepted" and names[-1] == "result" and set(names[1:-1]) == {"progress"}
    assert {event.stage for event in events[1:-1]} == {"first", "second"}


def test_fractions_never_fall(shared):
    events = []
    shared.submit(Do("backwards")).wait(events.append)
    assert [e.fraction for e in events if e.name == "progress"] == [0.1, 0.6, 0.6, 0.6, 0.7, 1.0]


def test_poll_never_waits(shared):
    job = shared.submit(Do("count", seconds=0.5))
    events, longest = [], 0.0
    while not job.finished:
        start = time.perf_counter()
        events += job.poll()
        longest = max(longest, time.perf_counter() - start)
        time.sleep(0.01)
    assert longest < 0.1 and [e.name for e in events + job.poll()][-1] == "result" and job.result()["sum"] == 0


def test_jobs_wait_for_each_other_and_one_that_waits_can_go(shared):
    first, second, third = (shared.submit(Do("count", seconds=0.4, numbers=[n])) for n in range(3))
    second.cancel()
    assert second.state == "cancelled"
    with pytest.raises(Cancelled):
        second.wait()
    assert (first.wait()["sum"], third.wait()["sum"]) == (0, 2)


def test_wait_has_an_end(shared):
    job = shared.submit(Do("count", seconds=0.5))
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.05)
    with pytest.raises(RuntimeError, match=r"is (running|waiting)"):
        job.result()
    assert job.wait()["sum"] == 0 and job.wait()["sum"] == 0


@posix
def test_nothing_but_messages_on_stdout(shared):
    """What Python, the C library and children print ends on stderr; there is nothing to read on stdin."""
    assert shared.submit(Do("noisy")).wait() == {"stdin": ""}
    assert shared.submit(Do("count")).wait()["sum"] == 0
    assert until(lambda: {"print", "raw", "child"} <= set(shared.last_words.splitlines()))


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("fault", WorkerError, "ZeroDivisionError: division by zero; this is a fault of X2BR"),
        ("refuse", InputError, "the film is blank; give another"),
        ("nan", WorkerError, "ValueError"),
        ("unheard", WorkerError, "does not know the kind of job 'unheard'"),
        pytest.param("limit", InputError, "no room for temporary files in .* (File too large)", marks=posix),
    ],
)
def test_a_job_that_fails_says_why_in_a_sentence(shared, kind, error, words):
    pid = shared.submit(Do("count")).wait()["pid"]
    with pytest.raises(error) as caught:
        shared.submit(Do(kind)).wait()
    assert all(part in str(caught.value) for part in words.split(" .* ")) and "\n" not in str(caught.value)
    assert shared.submit(Do("count")).wait()["pid"] == pid


def test_a_task_that_cannot_be_written_fails_alone(shared):
    task = Do("count")
    task.write = lambda folder: unknown  # noqa: F821
    with pytest.raises(NameError):
        shared.submit(task).wait()
    assert shared.submit(Do("count")).wait()["sum"] == 0


def test_garbage_on_stdin_is_answered_and_survived(module, temporary):
    folder = PrivateFolder()
    lines = [
        b"not json", b"[]", b"{}", b"\xff\xfe\x00", b"[" * 100_000,
        b'{"job": 3, "do": "run"}', b'{"job": "x", "do": "fly"}',
        b'{"do": "run", "job": "0", "kind": ["count"], "settings": {}, "folder": "."}',
        b'{"do": "run", "job": "1", "kind": "fly", "settings": {}, "folder": "."}',
        b'{"do": "run", "job": "2", "kind": "count", "settings": {}, "folder": "/nowhere"}',
        json.dumps({"do": "run", "job": "3", "kind": "count", "settings": {}, "folder": str(folder.path)}).encode(),
    ]  # fmt: skip
    # Without our client: a shell pipe would do.
    process = subprocess.Popen(
        [sys.executable, "-m", "kinds", str(folder.path), str(os.getpid())],
        env=module["environment"] | {"PYTHONPATH": os.pathsep.join([module["environment"]["PYTHONPATH"], *sys.path])},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    process.stdin.write(b"\n".join(lines) + b"\n")
    process.stdin.flush()
    events = []
    while not events or events[-1]["event"] != "result":
        events.append(json.loads(process.stdout.readline()))
    process.stdin.close()
    assert process.wait(5) == 0 and not folder.path.exists()
    errors = [event for event in events if event["event"] == "error"]
    assert [event["job"] for event in errors] == [None] * 8 + ["1", "2"]
    assert all(event["message"] and "\n" not in event["message"] for event in errors)
    assert events[0]["event"] == "hello" and events[0]["pid"] == process.pid


def test_remaining_seconds_are_those_of_earlier_jobs(shared):
    """Unknown at first; then, at every step, what is really left, whatever the input that comes with the settings."""
    for run in range(3):
        events = []
        shared.submit(Do("count", seconds=1.0, numbers=[run])).wait(
            lambda e, seen=events: seen.append((time.monotonic(), e))
        )
        end = events[-1][0]
        told = [(moment, event.remaining) for moment, event in events if event.name == "progress"]
        assert len(told) == 10
        if run == 0:
            assert all(remaining is None for _, remaining in told)
        else:
            assert all(abs(remaining - (end - moment)) < 0.35 for moment, remaining in told), told


def test_a_stage_that_drags_on_is_not_promised_to_end(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    times = StageTimes()
    for pace in (1.0, 5.0):
        run, told = times.begin("job"), []
        for fraction, stage in [(0.0, "a"), (0.25, "a"), (0.5, "b"), (0.75, "b"), (1.0, "b")]:
            told.append(run.remaining(fraction, stage))
            now[0] += pace
        run.done()
    assert told == [5.0, 4.0, 3.0, 1.5, 0.0]
    assert times.begin("another").remaining(0.0, "a") is None


# --- how it ends ------------------------------------------------------------------------------------------------------


def test_cancelled_at_random_moments(worker):
    """A second at most, wherever it is; the same process goes on, and the folder of the job is gone."""
    pid = worker.submit(Do("count")).wait()["pid"]
    moments = random.Random(7)
    for _ in range(8):
        job = worker.submit(Do("count", seconds=0.5))
        time.sleep(moments.uniform(0, 0.5))
        start = time.monotonic()
        job.cancel()
        with pytest.raises(Cancelled):
            job.wait()
        assert time.monotonic() - start < 1.0 and job.state == "cancelled"
        job.cancel()
    assert worker.submit(Do("count")).wait()["pid"] == pid
    assert [path.name for path in worker._process.folder.iterdir()] == ["lock"]


@pytest.mark.parametrize("kind", ["stubborn", "locked"])
def test_cancelled_where_it_does_not_listen(worker, kind):
    """Killed, its children too, long before the job would end; the next job has a new process."""
    job = worker.submit(Do(kind))
    pids = [warned(job), worker.facts["pid"]]
    start = time.monotonic()
    job.cancel()
    with pytest.raises(Cancelled):
        job.wait()
    assert time.monotonic() - start < 10.0
    assert all(gone(pid) for pid in pids)
    assert worker.submit(Do("count")).wait()["pid"] != pids[1]


@posix
def test_killed_while_idle(worker):
    """The next job does not notice."""
    pid = worker.submit(Do("count")).wait()["pid"]
    os.kill(pid, signal.SIGKILL)
    assert worker.submit(Do("count")).wait()["pid"] != pid


@posix
def test_killed_while_working(worker):
    job = worker.submit(Do("stubborn"))
    after = worker.submit(Do("count"))
    child, pid = warned(job), worker.facts["pid"]
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="killed, most likely for lack of memory"):
        job.wait()
    assert after.wait()["pid"] != pid
    psutil.Process(child).kill()  # it had left the worker's group, and nobody was left who knew of it


@posix
def test_a_crash_is_a_sentence(worker):
    with pytest.raises(WorkerError, match=r"crashed \(Segmentation fault\)") as caught:
        worker.submit(Do("crash", signal="SIGSEGV")).wait()
    assert "\n" not in str(caught.value)
    assert worker.submit(Do("count")).wait()["sum"] == 0


def test_a_full_disk(worker, temporary):
    """Whichever side writes, it says so; with space again, the same worker goes on."""
    if not hasattr(os, "geteuid") or os.geteuid() or subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(temporary)], capture_output=True
    ).returncode:  # fmt: skip
        pytest.skip("only root may make a small file system")
    try:
        pid = worker.submit(Do("count")).wait()["pid"]
        with pytest.raises(InputError, match="no room for temporary files"):
            worker.submit(Do("fill", bytes=4 << 20)).wait()
        filler = temporary / "filler"
        with pytest.raises(OSError), open(filler, "wb") as stream:
            while True:
                stream.write(bytes(4096))
        task = Do("count")
        task.write = lambda folder: (folder / "input").write_bytes(bytes(8192))
        with pytest.raises(InputError, match=r"no room for temporary files.*; free some space"):
            worker.submit(task).wait()
        filler.unlink()
        assert worker.submit(Do("count")).wait()["pid"] == pid
        worker.close()
        assert not list(temporary.iterdir())
    finally:
        subprocess.run(["umount", "-l", str(temporary)], check=True)


def host_with_a_job(module, temporary, kind: str, then: str) -> tuple[subprocess.Popen, list[int]]:
    """Another host whose worker does a job, and what it does then; the host and the numbers of child and worker."""
    script = f"""
        import time
        from X2BRLogic.worker import Worker
        class Do:
            kind, settings = {kind!r}, {{}}
            write = lambda self, folder: None
        worker = Worker(module="kinds")
        job = worker.submit(Do())
        told = []
        while not told:
            told = [event.message for event in job.poll() if event.name == "warning"]
            time.sleep(0.01)
        print(told[0], worker.facts["pid"], flush=True)
        {then}
    """
    paths = os.pathsep.join([module["environment"]["PYTHONPATH"], *sys.path])
    host = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=module["environment"] | {"PYTHONPATH": paths, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    return host, [int(word) for word in host.stdout.readline().split()]


@posix
def test_the_host_ends_without_closing(module, temporary):
    host, pids = host_with_a_job(module, temporary, "stubborn", "raise SystemExit(3)")
    assert host.wait(5) == 3 and all(gone(pid) for pid in pids)
    assert until(lambda: not list(temporary.iterdir()), 3.0)


@posix
@pytest.mark.parametrize("kind", ["stubborn", "locked"])
def test_the_host_is_killed(module, temporary, kind):
    """Worker, child and folder go, too; where the worker cannot hear it, as soon as it can."""
    host, pids = host_with_a_job(module, temporary, kind, "time.sleep(600)")
    host.kill()
    host.wait()
    if kind == "locked":  # then somebody kills it; the next worker's start cleans up
        os.kill(pids[1], signal.SIGKILL)
        assert gone(pids[1])
        (left,) = temporary.iterdir()
        PrivateFolder().remove()
        assert left.exists()  # too young to be sure
        os.utime(left, (time.time() - 3600,) * 2)
        PrivateFolder().remove()
    assert all(gone(pid) for pid in pids)
    assert until(lambda: not list(temporary.iterdir()), 3.0)


def test_a_living_hosts_folder_is_left_alone(temporary):
    mine = PrivateFolder()
    os.utime(mine.path, (time.time() - 10**6,) * 2)
    PrivateFolder().remove()
    assert [path.name for path in temporary.iterdir()] == [mine.path.name]
    assert os.name != "posix" or mine.path.stat().st_mode & 0o777 == 0o700
    mine.remove()


@posix
def test_what_is_not_ours_is_never_removed(temporary, tmp_path):
    """A link with such a name, and the folder that a worker is told is its own."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    os.utime(precious, (0, 0))
    (temporary / f"{PREFIX}link").symlink_to(precious)
    PrivateFolder().remove()
    subprocess.run([sys.executable, "-m", "X2BRLogic.worker", str(precious), "1"], input=b"", capture_output=True)
    assert (precious / "file").exists()


def test_two_workers_side_by_side(module, shared, temporary):
    with Worker(**module) as other:
        jobs = [w.submit(Do("count", seconds=0.5)) for w in (shared, other)]
        assert jobs[0].wait()["pid"] != jobs[1].wait()["pid"]
        other.submit(Do("stubborn"))
    assert not list(temporary.iterdir())
    assert shared.submit(Do("count")).wait()["sum"] == 0


def test_closed_it_takes_its_jobs_along(module, temporary):
    worker = Worker(**module)
    jobs = [worker.submit(Do("stubborn")), worker.submit(Do("count"))]
    child = warned(jobs[0])
    start = time.monotonic()
    worker.close()
    worker.close()
    assert time.monotonic() - start < 2.0 and [job.state for job in jobs] == ["cancelled"] * 2 and gone(child)
    assert not list(temporary.iterdir())
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(Do("count"))


@posix
def test_in_an_application_the_interpreter_is_the_one_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "SlicerApp-real"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(InputError, match="no Python interpreter"):
        default_python()
    beside = tmp_path / "PythonSlicer"
    beside.touch(mode=0o755)
    assert default_python() == str(beside)
    monkeypatch.setattr(sys, "executable", str(beside))
    assert default_python() == str(beside)


@pytest.mark.parametrize("python", ["/nowhere/python", __file__])
def test_no_such_interpreter(python, temporary):
    with Worker(python) as worker, pytest.raises(InputError, match="cannot start a worker"):
        worker.submit(Do("count")).wait()
    assert not list(temporary.iterdir())


def test_an_interpreter_that_cannot(module, temporary):
    with Worker(module="no_such_module") as worker:
        jobs = [worker.submit(Do("count")) for _ in range(2)]
        for job in jobs:
            with pytest.raises(WorkerError, match=r"ended unexpectedly \(exit status 1\)"):
                job.wait()
        assert "No module named" in worker.last_words


def test_another_version_is_refused(module, temporary, monkeypatch):
    monkeypatch.setattr(client, "__version__", "0.0.0")
    with Worker(**module) as worker, pytest.raises(WorkerError, match=r"its host 0\.0\.0; install the same version"):
        worker.submit(Do("count")).wait()


# --- files ------------------------------------------------------------------------------------------------------------


def test_values_to_files_and_back(tmp_path):
    mesh = trimesh.creation.icosphere(2, 40.0)
    mesh.vertex_attributes["confidence"] = np.linspace(0, 1, len(mesh.vertices), dtype=np.float32)
    value = {
        "a": [1, 2.5, None, "x", True],
        "pixels": np.random.default_rng(0).random((5, 7), np.float32),
        "m": {"b": mesh},
    }
    pack(tmp_path, "value", value)
    back = unpack(tmp_path, "value")
    assert back["a"] == value["a"] and back["pixels"].dtype == np.float32
    assert np.array_equal(back["pixels"], value["pixels"])
    for name in ("vertices", "faces", "vertex_normals"):
        assert np.array_equal(getattr(back["m"]["b"], name), getattr(mesh, name))
    assert np.array_equal(back["m"]["b"].vertex_attributes["confidence"], mesh.vertex_attributes["confidence"])
    with pytest.raises(TypeError):
        pack(tmp_path, "other", {"value": object()})
    np.savez(tmp_path / "value.npz", a0=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle"):
        unpack(tmp_path, "value")
