"""What is the same for every operation below `/v1`: how refusals look."""

from __future__ import annotations

from web.rest import refusals
from web.rest.v1 import blueprint

refusals.register(blueprint)
