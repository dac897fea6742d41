"""Automations, their runs and steps, and what waits to start them."""

from peewee import *

from models.database import LongTextField


def up(migrator, db):
    class Automation(Model):
        id = AutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        domain_id = IntegerField(null=True)
        live = BooleanField(default=True)
        name = CharField(max_length=255)
        state = CharField(max_length=8)
        trigger = LongTextField()
        hears = CharField(max_length=64, default="")
        version = IntegerField(default=1)
        reentry = CharField(max_length=8)
        reentry_days = IntegerField(default=0)
        due_ms = BigIntegerField(null=True, index=True)
        next_ms = BigIntegerField(null=True)
        since_ms = BigIntegerField(null=True)
        runs = IntegerField(default=0)
        refused = IntegerField(default=0)
        created_ms = BigIntegerField()
        updated_ms = BigIntegerField()
        deleted_ms = BigIntegerField(null=True)

        class Meta:
            database = db
            table_name = "automation"
            indexes = ((("account_id", "id"), False),)

    class AutomationVersion(Model):
        automation_id = IntegerField()
        version = IntegerField()
        actions = LongTextField()
        program = LongTextField()

        class Meta:
            database = db
            table_name = "automation_version"
            primary_key = CompositeKey("automation_id", "version")

    class AutomationRun(Model):
        id = BigAutoField()
        uuid = BinaryUUIDField(unique=True)
        account_id = IntegerField()
        automation_id = IntegerField()
        subscriber_id = BigIntegerField(null=True)
        list_id = IntegerField(null=True)
        email = CharField(max_length=320)
        address = CharField(max_length=320)
        version = IntegerField()
        step = IntegerField(default=0)
        state = CharField(max_length=10)
        due_ms = BigIntegerField(null=True)
        fence = IntegerField(default=0)
        tries = IntegerField(default=0)
        data = LongTextField(default="{}")
        cause = CharField(max_length=500, default="")
        started_ms = BigIntegerField()
        updated_ms = BigIntegerField()
        ended_ms = BigIntegerField(null=True, index=True)

        class Meta:
            database = db
            table_name = "automation_run"
            indexes = (
                (("automation_id", "due_ms"), False),
                (("automation_id", "address", "started_ms"), False),
                (("automation_id", "state", "id"), False),
            )

    class AutomationStep(Model):
        id = BigAutoField()
        run_id = BigIntegerField(index=True)
        path = CharField(max_length=64)
        action = CharField(max_length=16)
        outcome = CharField(max_length=16)
        message_id = BigIntegerField(null=True)
        detail = CharField(max_length=500, default="")
        at_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "automation_step"

    class AutomationSignal(Model):
        id = BigAutoField()
        account_id = IntegerField()
        word = CharField(max_length=64)
        email = CharField(max_length=320)
        list_id = IntegerField(null=True)
        subscriber_id = BigIntegerField(null=True)
        data = LongTextField(default="{}")
        at_ms = BigIntegerField()

        class Meta:
            database = db
            table_name = "automation_signal"

    class AutomationWave(Model):
        id = BigAutoField()
        automation_id = IntegerField()
        list_id = IntegerField()
        since_ms = BigIntegerField()
        at_ms = BigIntegerField()
        first = BooleanField(default=False)
        reached = BigIntegerField(default=0)
        upto = BigIntegerField()
        done_ms = BigIntegerField(null=True, index=True)

        class Meta:
            database = db
            table_name = "automation_wave"
            indexes = ((("automation_id", "at_ms"), True),)

    class AutomationMember(Model):
        automation_id = IntegerField()
        subscriber_id = BigIntegerField()

        class Meta:
            database = db
            table_name = "automation_member"
            primary_key = CompositeKey("automation_id", "subscriber_id")
            without_rowid = isinstance(db, SqliteDatabase)

    db.create_tables(
        [
            Automation,
            AutomationVersion,
            AutomationRun,
            AutomationStep,
            AutomationSignal,
            AutomationWave,
            AutomationMember,
        ]
    )


def down(migrator, db):
    for table in (
        "automation_member",
        "automation_wave",
        "automation_signal",
        "automation_step",
        "automation_run",
        "automation_version",
        "automation",
    ):
        migrator.migrate(migrator.drop_table(table))
