"""Language models: roles, profiles, and one engine that asks them and keeps what was paid for.

Asking is `Engine.ask`; what is asked and answered are `records`. Limits, circuit breaker, retries,
fallbacks, budget and journal are behind it. Knows nothing of code, tests or what an answer is for.
"""

from __future__ import annotations

from flywheel.lm.backends import cache_saving as cache_saving
from flywheel.lm.backends import check_local as check_local
from flywheel.lm.backends import local_file as local_file
from flywheel.lm.backends import price_of as price_of
from flywheel.lm.batch import PRICE as BATCH_PRICE
from flywheel.lm.budget import Spending as Spending
from flywheel.lm.engine import Engine as Engine
from flywheel.lm.engine import Estimate as Estimate
from flywheel.lm.failure import OF_BATCHES as OF_BATCHES
from flywheel.lm.failure import OF_REQUESTS as OF_REQUESTS
from flywheel.lm.failure import Failure as Failure
from flywheel.lm.failure import kind_of as kind_of
from flywheel.lm.journal import Journal as Journal
from flywheel.lm.line import Purpose as Purpose
from flywheel.lm.model_file import identity_of as identity_of
from flywheel.lm.model_file import read_head as read_head
from flywheel.lm.profile import LOCAL as LOCAL
from flywheel.lm.profile import Profile as Profile
from flywheel.lm.profile import Role as Role
from flywheel.lm.profile import profile_of as profile_of
from flywheel.lm.records import BYTES_A_TOKEN as BYTES_A_TOKEN
from flywheel.lm.records import IN_BATCHES as IN_BATCHES
from flywheel.lm.records import Call as Call
from flywheel.lm.records import Message as Message
from flywheel.lm.records import Reply as Reply
from flywheel.lm.records import Request as Request
from flywheel.lm.records import Response as Response
from flywheel.lm.records import Usage as Usage
from flywheel.lm.secret import Secrets as Secrets

__all__ = [
    "BATCH_PRICE",
    "BYTES_A_TOKEN",
    "IN_BATCHES",
    "LOCAL",
    "OF_BATCHES",
    "OF_REQUESTS",
    "Call",
    "Engine",
    "Estimate",
    "Failure",
    "Journal",
    "Message",
    "Profile",
    "Purpose",
    "Reply",
    "Request",
    "Response",
    "Role",
    "Secrets",
    "Spending",
    "Usage",
    "cache_saving",
    "check_local",
    "identity_of",
    "kind_of",
    "local_file",
    "price_of",
    "profile_of",
    "read_head",
]
