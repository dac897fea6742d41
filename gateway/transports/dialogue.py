"""What was said on a connection, kept short and free of secrets and content."""

from __future__ import annotations

LIMIT = 4096
"""Bytes of a dialogue in UTF-8."""

_REPLY = 1000  # characters of one reply


class Dialogue:
    """Lines since the last `take`: `C:` ours, `S:` the server's, `--` what happened."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def client(self, line: str) -> None:
        """`line` without secrets: the one who says them leaves them out."""
        self._lines.append(f"C: {line}")

    def server(self, code: int, text: str) -> None:
        if len(text) > _REPLY:
            text = text[:_REPLY] + "…"
        self._lines.append(f"S: {code} {text}" if "\n" not in text else f"S: {code} " + text.replace("\n", "\n   "))

    def note(self, text: str) -> None:
        self._lines.append(f"-- {text[:_REPLY]}")

    def resume(self, text: str) -> None:
        """Go on after `text`, which `take` gave."""
        self._lines.insert(0, text)

    def take(self) -> str:
        """All of it, at most `LIMIT` bytes, and begin anew; too long a one loses its middle, for the end tells most."""
        text = "\n".join(self._lines)
        self._lines.clear()
        if len(text) <= LIMIT // 4:
            return text
        raw = text.encode()
        if len(raw) <= LIMIT:
            return text
        head, tail = raw[: LIMIT // 4], raw[-(LIMIT * 3 // 4 - 8) :]
        return f"{head.decode(errors='ignore')}\n…\n{tail.decode(errors='ignore')}"
