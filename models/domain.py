"""Sender domains and the keys that sign for them."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, MediumBlobField, Model


class SenderDomain(Model):
    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    name = pw.CharField(253)  # lower-case A-labels
    enabled_name = pw.CharField(253, null=True, unique=True)  # = name while enabled: one owner only
    status = pw.CharField(16)
    subdomain = pw.CharField(63)  # label of the return path host
    hosting_provider = pw.CharField(255, default="")
    link_tracking = pw.BooleanField(default=True)
    open_tracking = pw.BooleanField(default=True)
    unsubscribe_link = pw.BooleanField(default=False)
    ownership_token = pw.CharField(64)
    signing_key = pw.TextField()  # sealed
    ownership_status = pw.CharField(16, default="Pending")
    dkim_status = pw.CharField(16, default="Pending")
    spf_status = pw.CharField(16, default="Pending")
    checks = LongTextField(default="[]")  # JSON: the last verification, record by record
    checked_ms = pw.BigIntegerField(null=True)
    verified_ms = pw.BigIntegerField(null=True)
    created_ms = pw.BigIntegerField()
    deleted_ms = pw.BigIntegerField(null=True)
    require_tls = pw.BooleanField(null=True)  # its mail leaves encrypted or waits
    next_check_ms = pw.BigIntegerField(null=True, index=True)  # when DNS is asked again; none once deleted
    pending_ms = pw.BigIntegerField(null=True)  # since when it waits for its records
    rotation_ms = pw.BigIntegerField(null=True)  # when the rotation that runs was begun; its keys were made then
    tracking_host = pw.CharField(253, null=True)  # of links and opens; none: that of the gateway
    tracking_privacy = pw.BooleanField(null=True)  # opens and clicks are kept without address and user agent
    text_link_tracking = pw.BooleanField(null=True)  # links of plain text are tracked like those of HTML
    honeypot_link = pw.BooleanField(null=True)  # HTML gets a link that only programs follow
    tracking_tls = pw.BooleanField(null=True)  # whether that host is served over TLS; none: as the gateway's own

    class Meta:
        indexes = ((("account_id", "name"), True),)


class DkimKey(Model):
    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    domain_id = pw.IntegerField(index=True)
    selector = pw.CharField(63)
    algorithm = pw.CharField(16)  # rsa | ed25519
    private = MediumBlobField()  # sealed PKCS#8 PEM; empty once retired
    public = pw.TextField()  # the p= value, base64
    state = pw.CharField(16, default="active")  # one of KEY_STATES
    created_ms = pw.BigIntegerField()
    in_dns = pw.BooleanField(null=True)  # what DNS last said for certain
    seen_ms = pw.BigIntegerField(null=True)  # when it was last seen there
    replaced_ms = pw.BigIntegerField(null=True)  # when another one began to sign in its place
    retire_ms = pw.BigIntegerField(null=True, index=True)  # when its record may go
    retired_ms = pw.BigIntegerField(null=True)

    class Meta:
        indexes = ((("domain_id", "selector"), True),)
