"""The tables of the first release."""

from peewee import *

from models.database import LongTextField, MediumBlobField


def up(migrator, db):
    class Account(Model):
        uuid = BinaryUUIDField(unique=True)
        email = CharField(unique=True, max_length=254)
        name = CharField(max_length=200, default="")
        slug = CharField(unique=True, max_length=64)
        password_hash = CharField(max_length=200, default="")
        role = CharField(max_length=16, default="user")
        status = CharField(max_length=16, default="active")
        plan_id = IntegerField(index=True)
        tfa_secret = TextField(null=True)
        options = LongTextField(default="{}")
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "account"

    db.create_tables([Account])

    class ApiKey(Model):
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        domain_id = IntegerField(index=True, null=True)
        surface = CharField(max_length=16)
        scopes = LongTextField(default="[]")
        live = BooleanField(default=True)
        strict = BooleanField(default=False)
        fingerprint = CharField(unique=True, max_length=64)
        prefix = CharField(max_length=32)
        sealed = TextField(null=True)
        description = CharField(default="")
        list_id = CharField(null=True, max_length=64)
        subscriber_id = CharField(null=True, max_length=64)
        journey_id = CharField(null=True, max_length=64)
        action_id = CharField(null=True, max_length=64)
        created_ms = BigIntegerField()
        expires_ms = BigIntegerField(null=True)
        revoked_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "api_key"

    db.create_tables([ApiKey])

    class Attempt(Model):
        id = BigAutoField()
        delivery_id = BigIntegerField(index=True)
        no = IntegerField()
        transport = CharField(max_length=64)
        remote = CharField(default="")
        tls = CharField(max_length=128, default="")
        code = SmallIntegerField(null=True)
        enhanced = CharField(max_length=16, default="")
        reply = LongTextField(default="")
        dialogue = LongTextField(default="")
        outcome = CharField(max_length=16)
        category = CharField(max_length=24, default="")
        started_ms = BigIntegerField()
        ms = IntegerField(default=0)
        verdicts = LongTextField(default="[]")

        class Meta:
            database = db
            table_name = "attempt"

    db.create_tables([Attempt])

    class CapturedMail(Model):
        id = BigAutoField()
        delivery_id = BigIntegerField(unique=True)
        message_id = BigIntegerField()
        account_id = IntegerField()
        content_id = BigIntegerField(index=True)
        mail_from = CharField(max_length=320)
        rcpt = CharField(max_length=320)
        subject = LongTextField(default="")
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "captured_mail"

    db.create_tables([CapturedMail])

    class Content(Model):
        id = BigAutoField()
        kind = CharField(max_length=8)
        size = BigIntegerField()
        codec = SmallIntegerField()
        sha256 = CharField(max_length=64)
        created_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "content"

    db.create_tables([Content])

    class ContentPart(Model):
        content_id = BigIntegerField()
        seq = IntegerField()
        body = MediumBlobField()

        class Meta:
            database = db
            table_name = "content_part"
            primary_key = CompositeKey("content_id", "seq")

    db.create_tables([ContentPart])

    class Counter(Model):
        domain_id = IntegerField()
        day = IntegerField()
        kind = SmallIntegerField()
        tag = CharField(max_length=190)
        n = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "counter"
            without_rowid = isinstance(db, SqliteDatabase)
            primary_key = CompositeKey("domain_id", "day", "kind", "tag")

    db.create_tables([Counter])

    class Delivery(Model):
        id = BigAutoField()
        message_id = BigIntegerField(index=True)
        account_id = IntegerField()
        domain_id = IntegerField()
        rcpt = CharField(max_length=320)
        merge = LongTextField(null=True)
        state = SmallIntegerField()
        fence = IntegerField(default=0)
        attempts = IntegerField(default=0)
        lane_id = IntegerField(null=True)
        due_ms = BigIntegerField(null=True)
        expires_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "delivery"
            constraints = [Check("(state >= 10) = (due_ms IS NULL)"), Check("(state >= 10) = (lane_id IS NULL)")]
            indexes = ((("lane_id", "due_ms"), False),)

    db.create_tables([Delivery])

    class DkimKey(Model):
        uuid = BinaryUUIDField(unique=True)
        domain_id = IntegerField(index=True)
        selector = CharField(max_length=63)
        algorithm = CharField(max_length=16)
        private = MediumBlobField()
        public = TextField()
        state = CharField(max_length=16, default="active")
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "dkim_key"
            indexes = ((("domain_id", "selector"), True),)

    db.create_tables([DkimKey])

    class Event(Model):
        id = BigAutoField()
        account_id = IntegerField()
        domain_id = IntegerField()
        kind = SmallIntegerField()
        at_ms = BigIntegerField()
        message_id = BigIntegerField()
        delivery_id = BigIntegerField(null=True)
        rcpt = CharField(max_length=320, default="")
        mx_id = IntegerField(null=True)
        reply_id = IntegerField(null=True)
        ip = CharField(max_length=45, default="")
        data = LongTextField(null=True)

        class Meta:
            database = db
            table_name = "event"
            indexes = (
                (("domain_id", "id"), False),
                (("domain_id", "kind", "id"), False),
                (("message_id", "delivery_id"), False),
            )

    db.create_tables([Event])

    class Expansion(Model):
        message_id = BigIntegerField(primary_key=True)
        account_id = IntegerField()
        domain_id = IntegerField()
        list_id = IntegerField(index=True)
        lane_id = IntegerField()
        reached = BigIntegerField(default=0)
        upto = BigIntegerField()
        total = IntegerField()
        made = IntegerField(default=0)
        due_ms = BigIntegerField()
        expires_ms = BigIntegerField()
        accepted_ms = BigIntegerField()
        ends_as = SmallIntegerField(null=True)
        end_reason = CharField(default="")
        done_ms = BigIntegerField(index=True, null=True)

        class Meta:
            database = db
            table_name = "expansion"

    db.create_tables([Expansion])

    class Facet(Model):
        domain_id = IntegerField()
        facet = SmallIntegerField()
        day = IntegerField()
        value = CharField(max_length=190)
        kind = SmallIntegerField()
        n = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "facet"
            without_rowid = isinstance(db, SqliteDatabase)
            primary_key = CompositeKey("domain_id", "facet", "day", "value", "kind")

    db.create_tables([Facet])

    class IdempotencyKey(Model):
        scope = CharField(max_length=96)
        key = CharField()
        fingerprint = CharField(max_length=64)
        message_id = BigIntegerField(null=True)
        status = SmallIntegerField(null=True)
        answer = LongTextField(null=True)
        created_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "idempotency_key"
            primary_key = CompositeKey("scope", "key")

    db.create_tables([IdempotencyKey])

    class Lane(Model):
        kind = SmallIntegerField()
        account_id = IntegerField()
        domain_id = IntegerField(default=0)
        stream = SmallIntegerField(default=0)
        route = CharField(max_length=64, default="")
        endpoint_id = IntegerField(default=0)
        paused_until_ms = BigIntegerField(default=0)
        cause = CharField(default="")

        class Meta:
            database = db
            table_name = "lane"
            indexes = ((("kind", "account_id", "domain_id", "stream", "route", "endpoint_id"), True),)

    db.create_tables([Lane])

    class MailList(Model):
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        name = CharField()
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()
        deleted_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "mail_list"

    db.create_tables([MailList])

    class Message(Model):
        id = BigAutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        domain_id = IntegerField()
        api_key_id = IntegerField(null=True)
        smtp_login_id = IntegerField(null=True)
        stream = SmallIntegerField()
        live = BooleanField(default=True)
        content_id = BigIntegerField(index=True)
        from_addr = CharField(max_length=320)
        subject = LongTextField()
        tags = LongTextField(default="[]")
        headers = LongTextField()
        metadata = LongTextField(null=True)
        size = BigIntegerField()
        track_opens = BooleanField()
        track_links = BooleanField()
        send_at_ms = BigIntegerField(null=True)
        created_ms = BigIntegerField()
        verdicts = LongTextField(default="[]")

        class Meta:
            database = db
            table_name = "message"
            indexes = ((("domain_id", "id"), False),)

    db.create_tables([Message])

    class Mx(Model):
        name = CharField(unique=True)

        class Meta:
            database = db
            table_name = "mx"

    db.create_tables([Mx])

    class Plan(Model):
        name = CharField(unique=True, max_length=64)
        max_domains = IntegerField(null=True)
        max_webhooks = IntegerField(null=True)
        requests = IntegerField(null=True)
        request_window = IntegerField(default=60)
        emails_minute = IntegerField(null=True)
        emails_hour = IntegerField(null=True)
        emails_day = IntegerField(null=True)
        emails_month = IntegerField(null=True)
        max_to = IntegerField(null=True)
        max_cc = IntegerField(null=True)
        max_bcc = IntegerField(null=True)
        max_reply_to = IntegerField(null=True)
        max_size = IntegerField(null=True)

        class Meta:
            database = db
            table_name = "plan"

    db.create_tables([Plan])

    class QuotaUsage(Model):
        account_id = IntegerField()
        period = CharField(max_length=32)
        n = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "quota_usage"
            primary_key = CompositeKey("account_id", "period")

    db.create_tables([QuotaUsage])

    class Reply(Model):
        digest = CharField(unique=True, max_length=32)
        text = CharField(max_length=1024)

        class Meta:
            database = db
            table_name = "reply"

    db.create_tables([Reply])

    class SearchMark(Model):
        id = IntegerField(primary_key=True)
        event_id = BigIntegerField(default=0)
        seen_id = BigIntegerField(default=0)
        seen_ms = BigIntegerField(default=0)
        lease_ms = BigIntegerField(default=0)

        class Meta:
            database = db
            table_name = "search_mark"

    db.create_tables([SearchMark])

    class SearchTerm(Model):
        domain_id = IntegerField()
        term = BigIntegerField()
        message_id = BigIntegerField()
        delivery_id = BigIntegerField()

        class Meta:
            database = db
            table_name = "search_term"
            without_rowid = isinstance(db, SqliteDatabase)
            primary_key = CompositeKey("domain_id", "term", "message_id", "delivery_id")

    db.create_tables([SearchTerm])

    class SenderDomain(Model):
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        name = CharField(max_length=253)
        enabled_name = CharField(unique=True, null=True, max_length=253)
        status = CharField(max_length=16)
        subdomain = CharField(max_length=63)
        hosting_provider = CharField(default="")
        link_tracking = BooleanField(default=True)
        open_tracking = BooleanField(default=True)
        unsubscribe_link = BooleanField(default=False)
        ownership_token = CharField(max_length=64)
        signing_key = TextField()
        ownership_status = CharField(max_length=16, default="Pending")
        dkim_status = CharField(max_length=16, default="Pending")
        spf_status = CharField(max_length=16, default="Pending")
        checks = LongTextField(default="[]")
        checked_ms = BigIntegerField(null=True)
        verified_ms = BigIntegerField(null=True)
        created_ms = BigIntegerField()
        deleted_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "sender_domain"
            indexes = ((("account_id", "name"), True),)

    db.create_tables([SenderDomain])

    class Session(Model):
        id = BigAutoField()
        token_hash = CharField(unique=True, max_length=64)
        account_id = IntegerField(index=True)
        created_ms = BigIntegerField()
        expires_ms = BigIntegerField(index=True)

        class Meta:
            database = db
            table_name = "session"

    db.create_tables([Session])

    class SmtpLogin(Model):
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        domain_id = IntegerField(index=True)
        username = CharField(unique=True, max_length=254)
        password = TextField()
        from_name = CharField(default="")
        from_email = CharField(max_length=254, default="")
        reply_to_name = CharField(default="")
        reply_to_email = CharField(max_length=254, default="")
        active = BooleanField(default=True)
        created_ms = BigIntegerField()
        deleted_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "smtp_login"

    db.create_tables([SmtpLogin])

    class Subscriber(Model):
        id = BigAutoField()
        list_id = IntegerField()
        account_id = IntegerField()
        email = CharField(max_length=320)
        address = CharField(max_length=320)
        fields = LongTextField(default="{}")
        status = SmallIntegerField()
        status_ms = BigIntegerField()
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "subscriber"
            indexes = ((("list_id", "address"), True), (("list_id", "id"), False), (("list_id", "status", "id"), False))

    db.create_tables([Subscriber])

    class Suppression(Model):
        id = BigAutoField()
        account_id = IntegerField()
        domain_id = IntegerField(default=0)
        address = CharField(max_length=320)
        reason = CharField(max_length=24)
        detail = LongTextField(default="")
        message_id = BigIntegerField(null=True)
        created_ms = BigIntegerField()
        expires_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "suppression"
            indexes = ((("account_id", "address", "domain_id", "reason"), True), (("domain_id", "created_ms"), False))

    db.create_tables([Suppression])

    class Template(Model):
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        name = CharField()
        subject = LongTextField()
        html = LongTextField(null=True)
        text = LongTextField(null=True)
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "template"

    db.create_tables([Template])

    class Webhook(Model):
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField(index=True)
        domain_id = IntegerField(index=True, null=True)
        surface = CharField(max_length=16)
        url = TextField()
        events = LongTextField()
        kinds = IntegerField()
        secret = TextField()
        status = CharField(max_length=16, default="active")
        lane_id = IntegerField()
        busy_until_ms = BigIntegerField(default=0)
        strikes = IntegerField(default=0)
        last_code = SmallIntegerField(null=True)
        last_ms = BigIntegerField(null=True)
        last_tries = IntegerField(default=0)
        created_ms = BigIntegerField()
        deleted_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "webhook"

    db.create_tables([Webhook])

    class WebhookAttempt(Model):
        id = BigAutoField()
        webhook_delivery_id = BigIntegerField(index=True)
        no = IntegerField()
        code = SmallIntegerField(null=True)
        error = CharField(default="")
        answer = LongTextField(default="")
        started_ms = BigIntegerField()
        ms = IntegerField()

        class Meta:
            database = db
            table_name = "webhook_attempt"

    db.create_tables([WebhookAttempt])

    class WebhookDelivery(Model):
        id = BigAutoField()
        uuid = BinaryUUIDField(unique=True)
        webhook_id = IntegerField()
        message_id = BigIntegerField()
        event_id = BigIntegerField()
        state = CharField(max_length=8, default="live")
        due_ms = BigIntegerField(null=True)
        fence = IntegerField(default=0)
        attempts = IntegerField(default=0)
        last_code = SmallIntegerField(null=True)
        last_error = LongTextField(default="")
        created_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "webhook_delivery"
            constraints = [Check("(state = 'live') = (due_ms IS NOT NULL)")]
            indexes = ((("webhook_id", "due_ms"), False), (("webhook_id", "message_id", "id"), False))

    db.create_tables([WebhookDelivery])


def down(migrator, db):
    migrator.migrate(migrator.drop_table("webhook_delivery"))
    migrator.migrate(migrator.drop_table("webhook_attempt"))
    migrator.migrate(migrator.drop_table("webhook"))
    migrator.migrate(migrator.drop_table("template"))
    migrator.migrate(migrator.drop_table("suppression"))
    migrator.migrate(migrator.drop_table("subscriber"))
    migrator.migrate(migrator.drop_table("smtp_login"))
    migrator.migrate(migrator.drop_table("session"))
    migrator.migrate(migrator.drop_table("sender_domain"))
    migrator.migrate(migrator.drop_table("search_term"))
    migrator.migrate(migrator.drop_table("search_mark"))
    migrator.migrate(migrator.drop_table("reply"))
    migrator.migrate(migrator.drop_table("quota_usage"))
    migrator.migrate(migrator.drop_table("plan"))
    migrator.migrate(migrator.drop_table("mx"))
    migrator.migrate(migrator.drop_table("message"))
    migrator.migrate(migrator.drop_table("mail_list"))
    migrator.migrate(migrator.drop_table("lane"))
    migrator.migrate(migrator.drop_table("idempotency_key"))
    migrator.migrate(migrator.drop_table("facet"))
    migrator.migrate(migrator.drop_table("expansion"))
    migrator.migrate(migrator.drop_table("event"))
    migrator.migrate(migrator.drop_table("dkim_key"))
    migrator.migrate(migrator.drop_table("delivery"))
    migrator.migrate(migrator.drop_table("counter"))
    migrator.migrate(migrator.drop_table("content_part"))
    migrator.migrate(migrator.drop_table("content"))
    migrator.migrate(migrator.drop_table("captured_mail"))
    migrator.migrate(migrator.drop_table("attempt"))
    migrator.migrate(migrator.drop_table("api_key"))
    migrator.migrate(migrator.drop_table("account"))
