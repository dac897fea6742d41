"""Automations: what starts them, what they do, and how far each subscriber has got in one."""

from __future__ import annotations

import peewee as pw

from models.database import LongTextField, Model


class Automation(Model):
    """`due_ms` is when a worker looks at it next; none while it is paused or nothing waits."""

    id = pw.AutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    domain_id = pw.IntegerField(null=True)  # made with a key of that domain
    live = pw.BooleanField(default=True)
    name = pw.CharField(255)
    state = pw.CharField(8)  # active | paused
    trigger = LongTextField()  # JSON
    hears = pw.CharField(64, default="")  # the word of an event that starts it
    version = pw.IntegerField(default=1)
    reentry = pw.CharField(8)  # once | always | days
    reentry_days = pw.IntegerField(default=0)
    due_ms = pw.BigIntegerField(null=True, index=True)
    next_ms = pw.BigIntegerField(null=True)  # when its time comes, or its condition is looked at
    since_ms = pw.BigIntegerField(null=True)  # when that was last
    runs = pw.IntegerField(default=0)  # so far
    refused = pw.IntegerField(default=0)  # triggers that the re-entry or the limit against loops kept out
    created_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()
    deleted_ms = pw.BigIntegerField(null=True)

    class Meta:
        indexes = ((("account_id", "id"), False),)


class AutomationVersion(Model):
    """Its actions as they were; a run goes on with those it began with."""

    automation_id = pw.IntegerField()
    version = pw.IntegerField()
    actions = LongTextField()  # JSON as it was given
    program = LongTextField()  # JSON: the same as steps and jumps

    class Meta:
        primary_key = pw.CompositeKey("automation_id", "version")


class AutomationRun(Model):
    """One subscriber in one automation. `due_ms` is the next step and, while claimed, the lease's end."""

    id = pw.BigAutoField()
    uuid = pw.BinaryUUIDField(unique=True)
    account_id = pw.IntegerField()
    automation_id = pw.IntegerField()
    subscriber_id = pw.BigIntegerField(null=True)
    list_id = pw.IntegerField(null=True)
    email = pw.CharField(320)
    address = pw.CharField(320)  # normalised
    version = pw.IntegerField()
    step = pw.IntegerField(default=0)
    state = pw.CharField(10)  # running | completed | failed | canceled
    due_ms = pw.BigIntegerField(null=True)
    fence = pw.IntegerField(default=0)
    tries = pw.IntegerField(default=0)  # of the step
    data = LongTextField(default="{}")  # JSON object that came with the trigger
    cause = pw.CharField(500, default="")  # why it failed, or waits
    started_ms = pw.BigIntegerField()
    updated_ms = pw.BigIntegerField()
    ended_ms = pw.BigIntegerField(null=True, index=True)

    class Meta:
        indexes = (
            (("automation_id", "due_ms"), False),
            (("automation_id", "address", "started_ms"), False),
            (("automation_id", "state", "id"), False),
        )


class AutomationStep(Model):
    """What became of one step of a run."""

    id = pw.BigAutoField()
    run_id = pw.BigIntegerField(index=True)
    path = pw.CharField(64)  # the action's place, `2.then.0`
    action = pw.CharField(16)
    outcome = pw.CharField(16)
    message_id = pw.BigIntegerField(null=True)
    detail = pw.CharField(500, default="")
    at_ms = pw.BigIntegerField()


class AutomationSignal(Model):
    """Something happened that an automation may begin with; the row goes when that is decided."""

    id = pw.BigAutoField()
    account_id = pw.IntegerField()
    word = pw.CharField(64)
    email = pw.CharField(320)
    list_id = pw.IntegerField(null=True)
    subscriber_id = pw.BigIntegerField(null=True)
    data = LongTextField(default="{}")  # JSON object
    at_ms = pw.BigIntegerField()


class AutomationWave(Model):
    """A time has come for a whole list, or its condition is looked at: done from `reached` on, in batches."""

    id = pw.BigAutoField()
    automation_id = pw.IntegerField()
    list_id = pw.IntegerField()
    since_ms = pw.BigIntegerField()  # the time before
    at_ms = pw.BigIntegerField()
    first = pw.BooleanField(default=False)  # who fulfils the condition now is only taken down
    reached = pw.BigIntegerField(default=0)  # the last subscriber that was dealt with
    upto = pw.BigIntegerField()
    done_ms = pw.BigIntegerField(null=True, index=True)

    class Meta:
        indexes = ((("automation_id", "at_ms"), True),)


class AutomationMember(Model):
    """A subscriber who fulfilled the condition when it was last looked at."""

    automation_id = pw.IntegerField()
    subscriber_id = pw.BigIntegerField()

    class Meta:
        primary_key = pw.CompositeKey("automation_id", "subscriber_id")
        without_rowid = True
