"""The rate headers of an answer: `X-RateLimit-*`, `Retry-After`, and draft-ietf-httpapi-ratelimit-headers-10."""

from __future__ import annotations

from flask import Response, g

from gateway import errors
from gateway.services.limits import RateState


def show(state: RateState) -> None:
    """Put the state on the answer of this request."""
    if state.limit is not None:
        g.rate_state = state


def headers_of(error: errors.RateLimited) -> dict[str, str]:
    """The headers of a refusal for too many requests."""
    retry_after = int(str(error.data.get("retry_after", 1)))
    limit = error.data.get("limit")
    headers = {"Retry-After": str(retry_after)}
    if isinstance(limit, int):
        headers |= _headers(RateState(limit, 0, retry_after, int(str(error.data.get("window", retry_after)))))
    return headers


def add(response: Response) -> Response:
    state: RateState | None = g.get("rate_state")
    if state is not None:
        response.headers.update(_headers(state))
    return response


def _headers(state: RateState) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(state.limit),
        "X-RateLimit-Remaining": str(state.remaining),
        "RateLimit-Policy": f'"requests";q={state.limit};w={state.window}',
        "RateLimit": f'"requests";r={state.remaining};t={state.reset}',
    }
