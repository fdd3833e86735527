"""What a run tells of itself: a line of JSON a validation, TensorBoard, and a bar with the time that remains."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tqdm import tqdm

from ..files import written_whole
from .checkpoint import Progress

LOG = "log.jsonl"
TENSORBOARD = "tensorboard"


class Record:
    """The record of a run in its folder; what was written after the step that the run goes on from is dropped."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter

        self._path = folder / LOG
        kept = [line for line in _lines(self._path) if json.loads(line)["step"] <= step]
        with written_whole(self._path) as partial:
            partial.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._board = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)

    def add(self, step: int, scores: dict[str, float]) -> None:
        """Write the scores at a step."""
        with open(self._path, "a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, **scores}) + "\n")
        for name, value in scores.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()

    def close(self) -> None:
        """End the TensorBoard file."""
        self._board.close()


def _lines(path: Path) -> list[str]:
    """The whole lines of a log; a run may have been killed amid its last."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return text.splitlines()[: text.count("\n")]


class Bar:
    """How far a run is on stderr, in steps or, where the run has a time, in seconds, and how long it will still take.

    `shown` is false in all processes but one.
    """

    def __init__(self, steps: int, minutes: float | None, progress: Progress, shown: bool):
        self._timed = minutes is not None
        total = round(60 * minutes) if self._timed else steps
        self._bar = tqdm(
            total=total, initial=self._reached(progress), unit="s" if self._timed else "step", file=sys.stderr,
            desc="train", mininterval=5, disable=not shown,
        )  # fmt: skip

    def _reached(self, progress: Progress) -> int:
        return int(progress.seconds) if self._timed else progress.step

    def show(self, progress: Progress) -> None:
        """Draw the state, not more often than every few seconds."""
        self._bar.update(self._reached(progress) - self._bar.n)

    def tell(self, **values: str) -> None:
        """Show these beside the bar from now on."""
        self._bar.set_postfix(values)

    def close(self) -> None:
        self._bar.close()
