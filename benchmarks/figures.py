"""What a load measured: rates, percentiles, and one line that says them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Measured:
    """Latencies in seconds of what was answered well, and the wall time of all."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` (0…1) of the requests stayed within."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")

    def line(self) -> str:
        p50, p95, p99 = (self.percentile(share) for share in (0.5, 0.95, 0.99))
        text = f"{self.rate:7.0f}/s   p50 {p50:6.1f} ms   p95 {p95:6.1f} ms   p99 {p99:6.1f} ms"
        return text + (f"   FAILED {len(self.failures)}: {self.failures[0]}" if self.failures else "")


def say(label: str, text: str) -> None:
    print(f"  {label:<42} {text}", flush=True)


def ratio(label: str, ours: float, theirs: float, goal: float) -> None:
    """A ratio of two rates of this run beside the goal that it has."""
    if theirs:
        say(label, f"{ours / theirs:7.2f}     goal {goal:.1f}")
