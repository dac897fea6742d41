"""`/health`, `/ready` and the front page in OpenAPI."""

from __future__ import annotations

from apispec import APISpec

from web.openapi import shapes

_PROBES = {
    "/health": ("health", "Whether the database and every part of this host serve", ("down", "starting")),
    "/ready": ("ready", "Whether requests can be taken: the database answers with the schema of this version",
               ("down", "migrating")),
}  # fmt: skip


def add(spec: APISpec) -> None:
    texts = {"type": "array", "items": {"type": "string"}}
    for path, (operation, summary, words) in _PROBES.items():
        well = {"type": "object", "properties": {"status": {"const": "ok"}, "parts": texts}, "required": ["status"]}
        not_well = {
            "type": "object",
            "properties": {"status": {"enum": list(words)}, "missing": texts},
            "required": ["status", "missing"],
        }
        retry = {"Retry-After": shapes.header("Seconds", "integer", required=True)}
        spec.path(
            path,
            operations={
                "get": {
                    "operationId": operation,
                    "tags": ["health"],
                    "summary": summary,
                    "responses": {
                        "200": shapes.answer("It does", well),
                        "503": shapes.answer("It does not; what is missing", not_well, headers=retry),
                    },
                }
            },
        )
    links = {"type": "object", "additionalProperties": {"type": "string"}}
    front = shapes.of_example({"name": "", "version": ""})
    front["properties"]["links"] = links
    spec.path(
        "/",
        operations={
            "get": {
                "operationId": "front",
                "tags": ["health"],
                "summary": "Name, version and the paths of this installation",
                "responses": {"200": shapes.answer("They are", front)},
            }
        },
    )
