"""Reading the sends of both vendors' `/v1`: one superset of fields, hand-checked into drafts."""
