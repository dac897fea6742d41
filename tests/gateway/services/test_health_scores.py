"""The health score: recomputed by hand, never without a number, and its trend."""

from __future__ import annotations

import pytest

from gateway import clock
from gateway.services import health_scores, statistics
from models.database import in_transaction
from models.vocabulary import EventKind
from tests import cast

DAY = 86_400_000


def _count(who: cast.Sender, days_ago: int, **counts: int) -> None:
    day = clock.day_number(clock.now_ms() - days_ago * DAY)

    def work(tx: object) -> None:
        for name, n in counts.items():
            if name in ("human", "machine"):
                tx.execute(  # type: ignore[attr-defined]
                    "INSERT INTO facet (domain_id, facet, day, value, kind, n) VALUES (?, 8, ?, ?, ?, ?)",
                    (who.domain.id, day, name, int(EventKind.OPENED), n),
                )
            else:
                tx.execute(  # type: ignore[attr-defined]
                    "INSERT INTO counter (domain_id, day, kind, tag, n) VALUES (?, ?, ?, '', ?)",
                    (who.domain.id, day, int(EventKind[name.upper()]), n),
                )

    in_transaction(work)


def _health(who: cast.Sender) -> health_scores.Health:
    return health_scores.of_account(caller=who.owner, days=statistics.period(None, None))


@pytest.mark.usefixtures("store")
class TestScore:
    def test_a_number_even_without_mail(self) -> None:
        found = _health(cast.sender())
        assert (found.confidence, found.messages, found.trend) == (0.0, 0, "steady")
        assert [part.rate for part in found.parts[:4]] == [None] * 4
        assert 0 < found.score <= 100
        assert sum(part.measure.weight for part in found.parts) == 100

    def test_recomputed_by_hand(self) -> None:
        who = cast.sender()
        _count(who, 3, delivered=9_500, bounced=300, failed=200, complained=10, opened=900, human=950, machine=400)
        found = _health(who)
        rates = {part.measure.name: part.rate for part in found.parts}
        assert rates["delivery_rate"] == 0.95
        assert rates["bounce_rate"] == 0.03
        assert rates["complaint_rate"] == round(10 / 9500, 5)
        assert rates["engagement_rate"] == 0.1
        sure, of_delivered = 10_000 / 10_200, 9_500 / 9_700
        auth = next(part for part in found.parts if part.measure.name == "authentication").points
        by_hand = (
            25 * (sure * (0.15 / 0.18) + (1 - sure) * 0.8)
            + 25 * (sure * (0.02 / 0.045) + (1 - sure) * 0.8)
            + 25 * (of_delivered * ((0.003 - 10 / 9500) / 0.0025) + (1 - of_delivered) * 0.8)
            + 15 * (of_delivered * 0.5 + (1 - of_delivered) * 0.8)
            + auth
        )
        assert found.score == pytest.approx(by_hand, abs=0.1)
        assert found.confidence == 0.98
        assert found.grade == health_scores.grade(found.score)

    def test_more_complaints_never_make_it_better(self) -> None:
        who = cast.sender()
        scores = []
        for days_ago, complaints in ((2, 0), (3, 5), (4, 30), (5, 200)):
            _count(who, days_ago, delivered=1000, complained=complaints)
            scores.append(_health(who).score)
        assert scores == sorted(scores, reverse=True)
        assert scores[0] > scores[-1] + 10
        assert any("one click" in words for words in _health(who).advice)

    def test_trend(self) -> None:
        who = cast.sender()
        _count(who, 40, delivered=5000)
        _count(who, 3, delivered=4000, bounced=1000)
        found = _health(who)
        assert found.trend == "down"
        assert found.previous > found.score
        assert found.advice[0].startswith("Validate addresses") or found.advice[0].startswith("Look at the refusals")

    def test_of_one_domain_and_of_nobody_elses(self) -> None:
        who, stranger = cast.sender(), cast.sender("stranger", "other.test")
        _count(who, 3, delivered=500, bounced=500)
        days = statistics.period(None, None)
        assert health_scores.of_domain(caller=who.owner, domain_id=who.domain.id, days=days).messages == 1000
        assert _health(stranger).messages == 0
        with pytest.raises(Exception, match="no such"):
            health_scores.of_domain(caller=stranger.owner, domain_id=who.domain.id, days=days)


@pytest.mark.parametrize(
    ("score", "grade"), [(100, "A+"), (97, "A+"), (96.9, "A"), (90, "A"), (80, "B"), (70, "C"), (60, "D"), (0, "F")]
)
def test_grades(score: float, grade: str) -> None:
    assert health_scores.grade(score) == grade
