"""How far the spools of tracking hits have been written down."""

from __future__ import annotations

import peewee as pw

from models.database import Model


class HitSpool(Model):
    """One spool file that is being read; its row goes with the file."""

    name = pw.CharField(64, primary_key=True)
    done = pw.BigIntegerField()  # bytes of it whose hits are events
    at_ms = pw.BigIntegerField()
