"""Fills an inbox with many conversations in one transaction; thirty thousand exchanges would take a minute."""

import hashlib
import random
from datetime import UTC, datetime, timedelta

from ruma.tenant.tenant import Tenant

_TOPICS = ["delivery", "opening hours", "a birthday cake", "the bread subscription", "gluten", "a refund", "parking"]
_ASKED = ["What does {} cost?", "Do you offer {} on Sundays?", "Tell me about {} please.", "I have a problem with {}."]


def fill_inbox(tenant: Tenant, count: int, *, exchanges: int = 3, days: int = 60, seed: int = 1) -> None:
    """Store conversations of several exchanges each, spread over the last days; a fixed share of each state."""
    chance, end = random.Random(seed), datetime.now(UTC) - timedelta(minutes=1)
    with tenant.writing() as db:
        for number in range(count):
            begun = end - timedelta(seconds=days * 86400 * (count - 1 - number) / count)
            declined = [chance.random() < 0.15 for _ in range(exchanges)]
            times = [f"{begun + timedelta(seconds=40 * step):%Y-%m-%dT%H:%M:%SZ}" for step in range(exchanges)]
            row = [
                hashlib.sha256(f"{seed}/{number}".encode()).digest(), chance.choice(["page", "widget", "api"]),
                times[0], times[-1], times[-1] if number % 40 == 0 else None, times[-1] if number % 80 == 0 else None,
                int(number < count * 0.9), int(number < count * 0.5), exchanges, sum(declined),
                int(number % 9 == 0), int(number % 13 == 0),
            ]  # fmt: skip
            conversation_id = db.execute(
                """insert into conversation (secret_hash, channel, started_at, last_at, wants_person_since, answered_at,
                   is_read, is_closed, questions, declined, helpful, unhelpful) values (?,?,?,?,?,?,?,?,?,?,?,?)""",
                row,
            ).lastrowid
            for time, is_declined in zip(times, declined, strict=True):
                question = chance.choice(_ASKED).format(chance.choice(_TOPICS)) + f" Case {number}."
                told = "I could not find this." if is_declined else f"Here is what we say: {'word ' * 30}[1]."
                insert = """insert into message (conversation_id, role, text, mode, is_declined, created_at)
                    values (?, ?, ?, ?, ?, ?)"""
                db.execute(insert, [conversation_id, "visitor", question, "", 0, time])
                db.execute(insert, [conversation_id, "agent", told, "write", int(is_declined), time])
