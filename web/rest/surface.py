"""A documented REST surface: its operations, each declared once, from which routes, checks and the description come."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import marshmallow as ma
import orjson
from flask import Blueprint, Response, g, request

from commands.sender_keys import presented
from gateway import errors
from gateway.services import domains, identity, limits
from gateway.services.identity import Caller
from models.vocabulary import ACCOUNT_DISABLED, SURFACES
from web import rates, reading
from web.rest import fields

INVALID_KEY = "Invalid or revoked API key"

Handler = Callable[..., "Mapping[str, Any] | list[Any] | Answer | Response"]


def bearer() -> str:
    """The token of `Authorization: Bearer`, '' without one."""
    keys = presented(request.headers.get("Authorization", ""), {})
    return keys[0] if keys else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A body with a status or headers of its own; a body of None has no content."""

    body: Mapping[str, Any] | list[Any] | None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """What there is to say about one method of one path, for the keys of `dialects`.

    `answer` is an example, and `other_answer` one of the other form that it may have. `org_wide`: Mailmark keys of all
    domains may call it, which reach only what is read. `several`: keys of several domains may call it without naming
    one. `most` names and list items are read. Of one that takes a file the handler reads the body itself: `params` are
    those of the query. What is `of_account` belongs to no domain: a sender key of the command API, which acts for one,
    reaches it only where its scopes say so.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    permission: str
    params: fields.Params
    answer: Any
    status: int
    dialects: frozenset[str]
    org_wide: bool
    several: bool
    most: int
    takes_file: bool
    of_account: bool
    other_answer: Any

    @property
    def name(self) -> str:
        """The operationId: that of its handler, e.g. `listTemplates`."""
        head, *rest = self.handler.__name__.split("_")
        return head + "".join(word.title() for word in rest)


class Surface:
    """Operations below one prefix, for keys of some surfaces; `token` finds the key in a request."""

    all: ClassVar[list[Surface]] = []

    def __init__(
        self, blueprint: Blueprint, *, surfaces: Collection[str], token: Callable[[], str], security: str
    ) -> None:
        self.blueprint, self.surfaces, self.token, self.security = blueprint, frozenset(surfaces), token, security
        self.table: dict[tuple[str, str], list[Operation]] = {}
        self.shared: set[tuple[str, str]] = set()
        Surface.all.append(self)

    def operation(
        self,
        method: str,
        path: str,
        *,
        permission: str,
        summary: str,
        params: type[fields.Params] = fields.Params,
        answer: Any = None,
        status: int = 200,
        dialects: Collection[str] = SURFACES,
        org_wide: bool = False,
        shared: bool = False,
        several: bool = False,
        most: int = reading.MAX_FIELDS,
        takes_file: bool = False,
        of_account: bool = False,
        other_answer: Any = None,
    ) -> Callable[[Handler], Handler]:
        """Enter a handler `(caller, params, **path values)`; two on one path have no dialect in common.

        `shared`: another surface has the route, and leaves to `serve_shared` what comes with keys of this one.

        The handler gets what `params` read and returns a body, an `Answer` or a whole response. What it raises is
        rendered by the surface.
        """

        def enter(handler: Handler) -> Handler:
            made = Operation(
                method, path, summary, handler, permission, params(), answer, status,
                frozenset(dialects) & self.surfaces, org_wide, several, most, takes_file,
                of_account, other_answer,
            )  # fmt: skip
            siblings = self.table.setdefault((method, path), [])
            if any(other.dialects & made.dialects for other in siblings):
                raise RuntimeError(f"{method} {path} is there already")
            siblings.append(made)
            if shared:
                self.shared.add((method, path))
            elif len(siblings) == 1:
                name = re.sub(r"\W+", "_", f"{method}_{path}").strip("_").lower()

                def view(**values: str) -> Response:
                    return self._serve(siblings, values)

                self.blueprint.add_url_rule(path, name, view, methods=[method])
            return handler

        return enter

    def authenticate(self) -> Caller:
        """The holder of the request's key; raises `NotAuthenticated`."""
        try:
            caller = identity.authenticate_key(key=self.token(), surfaces=self.surfaces)
        except errors.NotAuthenticated:
            raise errors.NotAuthenticated(INVALID_KEY) from None
        if caller.status == ACCOUNT_DISABLED:
            raise errors.NotAuthenticated(INVALID_KEY)
        return caller

    def serve_shared(self, path: str, values: dict[str, str]) -> Response | None:
        """The answer to a request at a route that another surface has; None where it is that one's.

        What it raises is this surface's refusal, to be rendered by its `refusals`.
        """
        if (request.method, path) not in self.shared or not self.token():
            return None
        try:
            self.authenticate()
        except errors.NotAuthenticated:
            return None
        return self._serve(self.table[request.method, path], values)

    def _serve(self, siblings: list[Operation], values: dict[str, str]) -> Response:
        # Before the body is read: a stranger's megabytes are not parsed.
        caller = self.authenticate()
        chosen = _chosen(siblings, caller)
        rates.show(limits.admit(caller))
        read = reading.query if chosen.takes_file else reading.read
        data = g.payload = read(request, fold=False, most=chosen.most)
        caller = _narrowed(chosen, caller, data)
        found, warnings = _read(chosen.params, data, strict=caller.strict)
        answer = chosen.handler(caller, found, **values)
        if isinstance(answer, Response):
            return answer
        if not isinstance(answer, Answer):
            answer = Answer(answer)
        return _rendered(answer, chosen.status, warnings)


def _chosen(siblings: list[Operation], caller: Caller) -> Operation:
    chosen = next((one for one in siblings if caller.surface in one.dialects), None)
    if chosen is None:
        raise errors.NotAllowed("Keys of this kind have no such operation.")
    if caller.surface == "mailmark" and caller.domain_id is None and not chosen.org_wide:
        raise errors.NotAllowed("A key of all domains reads analytics only; use the key of one domain.")
    if not caller.allows(chosen.permission):
        raise errors.NotAllowed(f"The key's scopes do not include {chosen.permission}.")
    if chosen.of_account and caller.surface == identity.OCTETH and caller.domain_id is not None and not caller.scopes:
        raise errors.NotAllowed(f"A sender key reaches what is its domain's; it needs the scope {chosen.permission}.")
    return chosen


def _narrowed(chosen: Operation, caller: Caller, data: dict[str, Any]) -> Caller:
    """A key of several domains acts for the one that `domain` names; raises `Invalid` where it has to, `NotFound`."""
    if not caller.domain_ids:
        return caller
    name = data.get("domain")
    if not isinstance(name, str) or not name.strip():
        if chosen.several:
            return caller
        raise errors.Invalid("The key is of several domains: say which with `domain`.", field="domain")
    if "domain" not in chosen.params.fields:
        del data["domain"]
    return domains.narrowed(caller=caller, name=name)


def _read(schema: fields.Params, data: dict[str, Any], *, strict: bool) -> tuple[dict[str, Any], list[dict[str, str]]]:
    try:
        found: dict[str, Any] = schema.load(data)
    except ma.ValidationError as error:
        listed = fields.faults(error.messages)
        first = listed[0]
        text = first["message"]
        if text != fields.required(first["field"]) and first["field"]:
            text = f"{first['field']}: {text}"
        raise errors.InvalidFields(text, fields=listed) from None
    names = fields.unknown(schema, data)
    told = [{"field": name, "message": "This field is not known and was not read."} for name in names]
    if told and strict:
        raise errors.UnknownFields("Unknown fields: " + ", ".join(names[:20]), fields=told)
    return found, told


def _rendered(answer: Answer, status: int, warnings: list[dict[str, str]]) -> Response:
    status = answer.status or status
    if answer.body is None:
        return Response(status=204, headers=dict(answer.headers))
    body = answer.body
    if warnings and isinstance(body, Mapping):
        body = {**body, "warnings": [*body.get("warnings", []), *warnings]}
    return Response(orjson.dumps(body), status, dict(answer.headers), mimetype="application/json")
