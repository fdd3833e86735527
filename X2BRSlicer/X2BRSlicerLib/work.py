"""Operations followed by the panel: looked at from a timer, so that nothing ever waits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from X2BRLogic.errors import InputError

from .labels import tell
from .nodes.names import stageTitle

if TYPE_CHECKING:
    from X2BRLogic.worker import Event

    from .operations import Operation

_INTERVAL_MS = 50


class Running:
    """An operation that is under way; ends by itself, or by `cancel`.

    Args:
        operation: handed in already.
        tell: called with each event of the job's.
        ended: called once: with the value, or with a sentence on what went wrong; after `cancel` it is not called.
    """

    def __init__(self, operation: Operation, tell: Callable[[Event], None], ended: Callable[[Any, str], None]):
        self._operation, self._tell, self._ended = operation, tell, ended
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def cancel(self) -> None:
        """End it now; the worker follows within a second, and nothing of it comes into the scene."""
        self._timer.stop()
        self._operation.job.cancel()

    def _look(self) -> None:
        job = self._operation.job
        for event in job.poll():
            self._tell(event)
        if not job.finished:
            return
        self._timer.stop()
        value, problem = None, ""
        try:
            value = self._operation.finish()
        except InputError as error:
            problem = str(error)
        except Exception as error:  # a fault of ours or of the worker's: a sentence for the user, the rest for the log
            logging.exception("X2BR")
            problem = " ".join(str(error).split()) or type(error).__name__
        self._ended(value, problem)


class Course:
    """A tab's one place for work: its Cancel button, progress bar and status line.

    Args:
        ui: of the tab, with `cancelButton`, `progressBar` and `statusLabel`.
        changed: called when work begins and when it has ended, for the buttons that depend on it.
    """

    def __init__(self, ui, changed: Callable[[], None]):
        self._ui, self._changed = ui, changed
        self._running: Running | None = None
        self._warnings: list[str] = []
        self._listening = True
        ui.cancelButton.clicked.connect(self.onCancel)
        self._show(busy=False)

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._running is not None

    def start(
        self,
        begin: Callable[[], Operation],
        done: Callable[[Any], str | None],
        failed: str,
        otherwise: Callable[[str], None] | None = None,
        repeatWarnings: bool = True,
    ) -> None:
        """Begin an operation.

        Args:
            begin: hands it in; what it raises is told as a failure of the operation.
            done: called with the value; what it returns is the new status, unless it has begun another operation.
            failed: what the status says before the reason.
            otherwise: called with the reason; what it begins follows.
            repeatWarnings: whether the status says what the worker warned of, or `done` shows it elsewhere.
        """
        try:
            operation = begin()
        except InputError as error:
            self.say(f"{failed} {error}")
            return
        except ImportError as error:
            self.say(f"{failed} " + _("{error}; install what is missing on the tab Models.").format(error=error))
            return

        def ended(value: Any, problem: str) -> None:
            self._running = None
            self._show(busy=False)
            status = done(value) if not problem else f"{failed} {problem}"
            if problem and otherwise:
                otherwise(status)
            if not self.busy:
                self.say(" ".join([status or "", *self._warnings]).strip())
            self._changed()

        self._warnings, self._listening = [], repeatWarnings
        self._running = Running(operation, self._tell, ended)
        self._ui.progressBar.value = 0
        self._show(busy=True)
        self.say(_("Starting…"))
        self._changed()

    def cancel(self, status: str) -> None:
        """End what is under way, if anything, and say so."""
        if not self._running:
            return
        self._running.cancel()
        self._running = None
        self._show(busy=False)
        self.say(status)
        self._changed()

    def onCancel(self) -> None:
        """The user no longer wants it."""
        self.cancel(_("Cancelled."))

    def warn(self, text: str) -> None:
        """Add to what the status will say at the end of what is under way."""
        self._warnings.append(text)

    def say(self, text: str) -> None:
        """Set the status line."""
        tell(self._ui.statusLabel, text)

    def _tell(self, event: Event) -> None:
        if event.name == "warning" and self._listening:
            self._warnings.append(event.message)
        elif event.name == "progress":
            self._ui.progressBar.value = round(100 * event.fraction)
            left = _("about {seconds} s left").format(seconds=max(1, round(event.remaining or 0)))
            stage = stageTitle(event.stage)
            self.say(f"{stage}…" if event.remaining is None else f"{stage}, {left}")

    def _show(self, busy: bool) -> None:
        self._ui.cancelButton.enabled = busy
        self._ui.cancelButton.toolTip = _("End what is under way.") if busy else _("Nothing is under way.")
        self._ui.progressBar.visible = busy
