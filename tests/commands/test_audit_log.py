"""GetAuditLog: what an account did, page by page."""

from __future__ import annotations

from tests import cast
from tests.commands.conftest import Call


def test_calls_and_changes_are_listed_and_filtered(who: cast.Sender, call: Call) -> None:
    call("UpdateDomain", DomainID=who.domain.id, LinkTracking=False)
    found = call("GetAuditLog", Kind="change", Action="domain.update")
    (entry,) = found["Entries"]
    assert found["Success"] is True and found["NextBefore"] is None
    assert (entry["Object"], entry["Before"]) == (f"domain:{who.domain.id}", {"link_tracking": True})
    assert entry["APIKeyID"] is not None and entry["APIKeyPrefix"] and entry["Signature"]
    pages = [call("GetAuditLog", Kind="change", RetrieveCount=1)]
    while pages[-1]["NextBefore"] is not None:
        pages.append(call("GetAuditLog", Kind="change", RetrieveCount=1, Before=pages[-1]["NextBefore"]))
    sequences = [one["Sequence"] for page in pages for one in page["Entries"]]
    assert sequences == sorted(sequences, reverse=True) and len(sequences) > 1
    assert call("GetAuditLog", EndDate="2020-01-01")["Entries"] == []
    assert call("GetAuditLog", Kind="other")["Success"] is False
