"""What `watch` shows: a bar that grows, and the log above it. In a notebook, a widget."""

from __future__ import annotations

from typing import Any

from ._wire import Event


class Bar:
    """The progress of a run."""

    def __init__(self, title: str, logs: bool) -> None:
        from tqdm.auto import tqdm

        self._tqdm = tqdm
        self._logs = logs
        self._bar = tqdm(total=100, miniters=0, desc=title, bar_format="{desc}: {percentage:3.0f}%|{bar}| {postfix} [{elapsed}]")
        self._figures = ""

    def show(self, event: Event) -> None:
        """Shows one event."""
        data = event.data
        if event.name == "log" and self._logs:
            level = "" if data["level"] == "INFO" else f"{data['level']}: "
            self._tqdm.write(f"{data['timestamp'][11:19]} {level}{data['message']}")
        elif event.name == "gap":
            self._tqdm.write("(some lines were lost)")
        elif event.name == "status":
            self._to(data["progress"], data["status"].lower())
        elif event.name == "progress":
            self._figures = "  ".join(f"{name} {value:.4g}" for name, value in data["metrics"].items())
            self._to(data["progress"], self._figures)

    def _to(self, percent: float, words: str) -> None:
        self._bar.set_postfix_str(words, refresh=False)
        # Never backwards: a run that is tried again begins at its checkpoint. It draws ten times a second at most.
        self._bar.update(max(percent - self._bar.n, 0))

    def end(self, state: Any) -> None:
        """The last word, and the last figures: a quick training may be over before the bar was drawn with them."""
        if str(state) == "TRAINED":
            self._bar.n = 100
        self._bar.set_postfix_str("  ".join(filter(None, [str(state).lower(), self._figures])), refresh=True)
        self._bar.close()
