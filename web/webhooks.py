"""The models of requests and responses about webhooks."""

from difflib import get_close_matches
from typing import Annotated, Literal, Self

from msgspec import UNSET, Meta, UnsetType
from pydantic import AfterValidator, Field, model_validator

from ledger.events.disclosure import DISCLOSED_TOPICS
from ledger.events.webhooks import Order, Reason
from ledger.publish.webhooks.cursors import Kind
from ledger.publish.webhooks.target import EXAMPLE, MAX_LENGTH, PATTERN
from ledger.store.reader import MAX_POSITION
from web.body import Body, describe
from web.fields import ChosenId, Description, Id, NotNull, ReadOnly
from web.monitors import CodePrefix
from web.response_fields import Answer, Time
from web.response_fields import Id as AnsweredId
from web.response_fields import Position as AnsweredPosition

DEFAULT_OVERLAP_SECONDS = 86_400
MAX_OVERLAP_SECONDS = 30 * 86_400
TOPICS = sorted(DISCLOSED_TOPICS)
MAX_TOPIC_LENGTH = 64  # of what is compared with them


def _topic(text: str) -> str:
    if text not in DISCLOSED_TOPICS:
        name = text.removeprefix("ledger.").split(".")[0]  # of the type of a CloudEvent
        nearest = get_close_matches(name[:MAX_TOPIC_LENGTH], TOPICS, 1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ", which /asyncapi.json lists"
        raise ValueError(f"must be the topic of an event that leaves the ledger{hint}")
    return text


def _distinct(topics: list[str]) -> list[str]:
    if len(topics) != len(set(topics)):
        raise ValueError("must be distinct")
    return topics


Url = Annotated[
    str, Field(min_length=1, max_length=MAX_LENGTH, json_schema_extra={"pattern": PATTERN, "examples": [EXAMPLE]})
]
Topic = Annotated[str, AfterValidator(_topic), Field(json_schema_extra={"enum": TOPICS})]
Topics = Annotated[
    list[Topic],
    Field(max_length=len(TOPICS), json_schema_extra={"uniqueItems": True}, description="None for all"),
    AfterValidator(_distinct),
]
FromPosition = Annotated[int, Field(ge=1, le=MAX_POSITION)]


class NewWebhook(Body):
    """`POST /webhooks`. Without `from_position`, it sends the events after its creation.

    With `order: "account"`, an event waits only for earlier events about the same account.
    """

    model_config = describe(
        {"url": EXAMPLE, "topics": ["MoneyTransferred"]},
        {"url": EXAMPLE, "code_prefix": "users:", "order": "account", "from_position": 1},
    )

    id: ChosenId | None = None
    url: Url
    topics: Topics = Field(default_factory=list)
    code_prefix: CodePrefix | None = None
    order: Order = "webhook"
    description: Description | None = None
    from_position: FromPosition | None = None
    client_id: ReadOnly
    status: ReadOnly
    status_reason: ReadOnly
    secrets: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly


class WebhookPatch(Body):
    """`PATCH /webhooks/{id}` (RFC 7396). Null removes the code prefix or the description."""

    model_config = describe({"topics": ["MoneyTransferred", "JournalEntryPosted"]})

    id: NotNull[Id] = None
    url: NotNull[Url] = None
    topics: NotNull[Topics] = None
    code_prefix: CodePrefix | None = None
    order: NotNull[Order] = None
    description: Description | None = None
    client_id: ReadOnly
    status: ReadOnly
    status_reason: ReadOnly
    secrets: ReadOnly
    created_at: ReadOnly
    updated_at: ReadOnly


class SecretRotation(Body):
    """`POST /webhooks/{id}/rotate-secret`. The secret before this one signs as well for the overlap, by default a day.

    With 0, it ends at once.
    """

    model_config = describe({"overlap_seconds": 3600})

    overlap_seconds: Annotated[int, Field(ge=0, le=MAX_OVERLAP_SECONDS)] = DEFAULT_OVERLAP_SECONDS


class Enabling(Body):
    """`POST /webhooks/{id}/enable`. Without `from_position`, the webhook continues where it was disabled."""

    model_config = describe({}, {"from_position": 42})

    from_position: FromPosition | None = None


class Redelivery(Body):
    """`POST /webhooks/{id}/redeliver`: one event, by its position or by a delivery of it, or all from a position on."""

    model_config = describe(
        {"position": 42},
        {"from_position": 42},
        oneOf=[
            {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
            for name in ("delivery_id", "position", "from_position")
        ],
    )

    delivery_id: Id | None = None
    position: FromPosition | None = None
    from_position: FromPosition | None = None

    @model_validator(mode="after")
    def _name_one(self) -> Self:
        if [self.delivery_id, self.position, self.from_position].count(None) != 2:  # noqa: PLR2004 - all but one
            raise ValueError("position: must be given, or else delivery_id or from_position, and only one of them")
        return self


Secret = Annotated[str, Meta(description="Shown only once", examples=["whsec_…"])]


class WebhookSecret(Answer, frozen=True):
    """A secret that signs, without the secret itself."""

    id: AnsweredId
    expires_at: Annotated[Time | None, Meta(description="Null for the newest", examples=[None])]


class _Webhook(Answer, frozen=True, kw_only=True):
    id: AnsweredId
    url: Annotated[str, Meta(examples=[EXAMPLE])]
    topics: Annotated[list[str], Meta(description="Empty for all", examples=[["MoneyTransferred"]])]
    code_prefix: Annotated[str | None, Meta(examples=["users:"])]
    order: Order
    description: Annotated[str | None, Meta(examples=[None])]
    client_id: Annotated[
        AnsweredId | None, Meta(description="The client that it belongs to; null for the admins", examples=[None])
    ]
    status: Literal["enabled", "disabled"]
    status_reason: Annotated[Reason | None, Meta(examples=[None])]
    secrets: list[WebhookSecret]


class Webhook(_Webhook, frozen=True, kw_only=True):
    """A webhook: where it sends which events, and whether it does so."""

    created_at: Time
    updated_at: Time


class CreatedWebhook(Webhook, frozen=True, kw_only=True):
    """A webhook with its first secret, which is shown only once: a replay of the request does not have it."""

    secret: Secret | UnsetType = UNSET


class RotatedWebhook(_Webhook, frozen=True, kw_only=True):
    """A webhook with its new secret, which is shown only once: a replay of the request does not have it."""

    secret: Secret | UnsetType = UNSET


Status = Annotated[int | None, Meta(description="Null if there was no answer", examples=[200])]
Error = Annotated[str | None, Meta(description="Why there was none", examples=[None])]
Beginning = Annotated[str, Meta(description="The first kilobyte", examples=["ok"])]
Milliseconds = Annotated[int, Meta(ge=0, examples=[12])]


class Delivery(Answer, frozen=True, kw_only=True):
    """An attempt to deliver an event, or a test."""

    id: AnsweredId
    kind: Kind
    position: Annotated[AnsweredPosition | None, Meta(description="Null for a test", examples=[42])]
    topic: str
    attempt: Annotated[int, Meta(ge=1, description="The number of the attempt, from 1")]
    status: Status
    error: Error
    answer: Beginning
    milliseconds: Milliseconds
    sent_at: Time


class Progress(Answer, frozen=True, kw_only=True):
    """How far a webhook has come. All events up to `position` were sent, but for those that are pending."""

    position: Annotated[int, Meta(ge=0, examples=[42])]
    log_end: Annotated[int, Meta(ge=0, description="The position of the last event of the log", examples=[42])]
    pending: Annotated[int, Meta(ge=0, description="Events that are being sent, or wait for the next attempt")]
    failures: Annotated[int, Meta(ge=0, description="The most attempts in a row that failed for one of these")]
    failed_since: Annotated[Time | None, Meta(description="When the first of these attempts failed", examples=[None])]
    next_attempt_at: Annotated[Time | None, Meta(examples=[None])]
