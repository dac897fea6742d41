"""The spool of tracking hits of this host."""

from __future__ import annotations

from gateway.services import spool

SEALED_MOST = spool.SEALED_MOST

_place = spool.Place("hits")
append, folder, sealed, seal = _place.append, _place.folder, _place.sealed, _place.seal
waiting, files, written, reading, look_after = (
    _place.waiting,
    _place.files,
    _place.written,
    _place.reading,
    _place.look_after,
)
