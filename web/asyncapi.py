"""The events as a document (AsyncAPI 3.0), generated from the table of events.

Each event that leaves the ledger is a message: a CloudEvent, whose `data` has a schema of its own. The channels are the
ways by which events leave. Pure: the same table makes the same document.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, get_args

import msgspec

from ledger import __version__
from ledger.events import TOPICS
from ledger.events.accounts import AccountEvent
from ledger.events.cloud import MEDIA_TYPE, event_type, schema_uri
from ledger.events.disclosure import DISCLOSED_TOPICS, SHAPES
from ledger.events.notices import NOTICES, PUBLISHING_STARTED, WEBHOOK_TESTED
from ledger.events.schemas import SAMPLE_LEDGER, meaning_of, model_of, sample_cloud_event
from web.components import REF, VALUES, Components
from web.event_models import CloudEvent
from web.http.event_forms import FEED
from web.http.scopes import SCOPES
from web.routes import VERSIONS

_SCOPE = "events:read"
_DESCRIPTION = """\
The events of a double-entry ledger, as CloudEvents 1.0 in JSON.

- `id` names the ledger and the position in its log. The same id always has the same content, and may arrive twice: \
keep the last position, and ignore what is not beyond it.
- Events of one stream (`subject`) arrive in order. An event arrives once it is durable, never before.
- Amounts are integers in minor units, within ±(2^53 - 1). Times are RFC 3339, in UTC. `position` and `streamversion` \
are texts, because integers of CloudEvents have 32 bits.
- No event has a user name, an e-mail address, a secret, or a text that is about a transaction or a person. References \
and codes of accounts leave the ledger.
- Later versions may add members and events, so consumers ignore those that they do not know. An event whose members \
change otherwise gets a new `type`.
"""
_SIGNED = {
    "type": "object",
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "webhook-id": {"type": "string", "description": "The same whenever the event is sent to the webhook"},
        "webhook-timestamp": {"type": "string", "description": "When it was sent, in seconds since the epoch"},
        "webhook-signature": {
            "type": "string",
            "description": "A signature for each secret that is valid, separated by blanks: `v1,` and an HMAC-SHA256",
        },
    },
}
_IDENTIFIED = {
    "type": "object",
    "required": ["Nats-Msg-Id"],
    "properties": {"Nats-Msg-Id": {"type": "string", "description": "The id of the event"}},
}
_TYPED = {
    "type": "object",
    "required": ["content-type"],
    "properties": {"content-type": {"type": "string", "const": MEDIA_TYPE}},
}
_KEYED = {"key": {"type": "string", "format": "uuid", "description": "The stream"}, "bindingVersion": "0.5.0"}
_OF_LEDGER = {
    "prefix": {"description": "What the operator has chosen", "default": "ledger"},
    "ledger": {"description": "The id of the ledger", "examples": [str(SAMPLE_LEDGER)]},
}


@cache
def events_document() -> bytes:
    """Return the encoded document of the events that leave this service."""
    return msgspec.json.encode(describe_events(topic for topic in SHAPES if topic in DISCLOSED_TOPICS))


def describe_events(chosen: Iterable[str]) -> dict[str, Any]:
    """Return the document of the events of these topics."""
    topics = [*chosen]
    of_accounts = {TOPICS[cls] for cls in get_args(AccountEvent)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Events of the ledger",
            "version": __version__,
            "description": _DESCRIPTION,
            "contact": {"name": "The Ledger project"},
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": MEDIA_TYPE,
        "servers": _servers(),
        "channels": {
            "feed": _feed(topics),
            "webhooks": _webhooks(topics),
            "accountSubjects": _subjects([topic for topic in topics if topic in of_accounts], of_accounts=True),
            "otherSubjects": _subjects([topic for topic in topics if topic not in of_accounts], of_accounts=False),
            "replays": _replays(),
            "kafkaTopic": _kafka(topics),
        },
        "operations": _operations(),
        "components": {
            "schemas": _schemas(topics),
            "messages": {name: _message(name) for name in (*topics, *NOTICES)},
            "messageTraits": {
                "signed": {"name": "signed", "headers": _SIGNED},
                "identified": {"name": "identified", "headers": _IDENTIFIED},
                "keyed": {"name": "keyed", "headers": _TYPED, "bindings": {"kafka": _KEYED}},
            },
            "securitySchemes": _security(),
        },
    }


def _servers() -> dict[str, Any]:
    return {
        "service": {
            "host": "{host}",
            "protocol": "https",
            "description": "The service itself",
            "variables": {"host": {"default": "localhost:8080", "description": "Its host, and its port"}},
            "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("accessToken", "machine")],
        },
        "nats": {
            "host": "{host}",
            "protocol": "nats",
            "description": "A server of NATS, with JetStream, to which the operator lets the ledger publish",
            "variables": {"host": {"default": "localhost:4222", "description": "Its host, and its port"}},
        },
        "kafka": {
            "host": "{host}",
            "protocol": "kafka",
            "description": "A server of Kafka to which the operator lets the ledger publish",
            "variables": {"host": {"default": "localhost:9092", "description": "Its host, and its port"}},
        },
    }


def _feed(topics: Iterable[str]) -> dict[str, Any]:
    return {
        "address": f"/{VERSIONS[0]}/events",
        "title": "The live feed",
        "description": f"Server-sent events with `Accept: {FEED}, {MEDIA_TYPE}`. The id of each is its position: a "
        "client that reconnects sends the last one as `Last-Event-ID`. The parameters `topic` and `stream` choose "
        "events.",
        "servers": [{"$ref": "#/servers/service"}],
        "messages": {topic: {"$ref": f"#/components/messages/{topic}"} for topic in topics},
        "bindings": {"http": {}},
    }


def _webhooks(topics: Iterable[str]) -> dict[str, Any]:
    return {
        "address": None,
        "title": "Webhooks",
        "description": "A request for each event, to the URL of a webhook and signed as Standard Webhooks are. An "
        "answer of 2xx means that the event has arrived; after any other one, and after ten seconds, it is sent again.",
        "messages": {
            **{topic: _message_with("signed", topic) for topic in topics},
            WEBHOOK_TESTED: _message_with("signed", WEBHOOK_TESTED),
        },
        "bindings": {"http": {}},
    }


def _subjects(topics: list[str], *, of_accounts: bool) -> dict[str, Any]:
    account = {"account": {"description": "The code of the account, a token for each segment; without a code, its id"}}
    return {
        "address": "{prefix}.{ledger}.{topic}" + (".{account}" if of_accounts else ""),
        "title": "Events of accounts in NATS" if of_accounts else "Other events in NATS",
        "description": "Messages in a stream of JetStream. Consumers choose them by subject, with wildcards.",
        "servers": [{"$ref": "#/servers/nats"}],
        "parameters": {
            **_OF_LEDGER,
            "topic": {"description": "The topic of the event", "enum": topics},
            **(account if of_accounts else {}),
        },
        "messages": {topic: _message_with("identified", topic) for topic in topics},
    }


def _replays() -> dict[str, Any]:
    return {
        "address": "{prefix}.{ledger}._start",
        "title": "Beginnings of replays in NATS",
        "description": "A message in the same stream of JetStream, after which an operator has events published again.",
        "servers": [{"$ref": "#/servers/nats"}],
        "parameters": _OF_LEDGER,
        "messages": {PUBLISHING_STARTED: _message_with("identified", PUBLISHING_STARTED)},
    }


def _kafka(topics: Iterable[str]) -> dict[str, Any]:
    return {
        "address": "{topic}",
        "title": "Events in Kafka",
        "description": "Records of one topic, whose key is the stream of the event (`subject`). Consumers read with "
        "`isolation.level=read_committed`.",
        "servers": [{"$ref": "#/servers/kafka"}],
        "parameters": {"topic": {"description": "What the operator has chosen", "default": "ledger"}},
        "messages": {topic: _message_with("keyed", topic) for topic in topics},
    }


def _operations() -> dict[str, Any]:
    return {
        "sendFeed": {
            "action": "send",
            "channel": {"$ref": "#/channels/feed"},
            "title": "Send events to a client of the feed",
            "bindings": {"http": {"method": "GET", "bindingVersion": "0.3.0"}},
        },
        "sendWebhook": {
            "action": "send",
            "channel": {"$ref": "#/channels/webhooks"},
            "title": "Send an event to a webhook",
            "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
        },
        **{
            name: {"action": "send", "channel": {"$ref": f"#/channels/{channel}"}, "title": title}
            for name, channel, title in (
                ("publishAccountEvent", "accountSubjects", "Publish an event of an account to NATS"),
                ("publishOtherEvent", "otherSubjects", "Publish another event to NATS"),
                ("publishToKafka", "kafkaTopic", "Publish an event to Kafka"),
                ("beginReplay", "replays", "Begin to publish events to NATS again"),
            )
        },
    }


def _schemas(topics: Iterable[str]) -> dict[str, Any]:
    components = Components({}, [*(model_of(SHAPES[topic], disclosed=True) for topic in topics), CloudEvent])
    envelope = components.schemas["CloudEvent"]
    del envelope["additionalProperties"]  # an extension may be added
    return {
        **{name: _with_titles(schema, name) for name, schema in sorted(components.schemas.items())},
        **{f"{topic}CloudEvent": _whole(topic) for topic in topics},
        **{f"{name}CloudEvent": _fixed(name, notice.sample) for name, notice in NOTICES.items()},
    }


def _with_titles(schema: Any, name: str) -> Any:
    """Return a schema whose enums have titles, by which code generators name their types: by component and member."""
    if isinstance(schema, list):
        return [_with_titles(part, name) for part in schema]
    if not isinstance(schema, dict):
        return schema
    titled = {
        key: value
        if key in VALUES
        else {member: _with_titles(part, name + _in_capitals(member)) for member, part in value.items()}
        if key == "properties"
        else _with_titles(value, name)
        for key, value in schema.items()
    }
    return {"title": name, **titled} if "enum" in schema else titled


def _in_capitals(member: str) -> str:
    return "".join(word.capitalize() for word in member.split("_"))


def _whole(topic: str) -> dict[str, Any]:
    """Return the schema of the CloudEvents of a topic."""
    return {
        "title": f"{topic}CloudEvent",
        "allOf": [{"$ref": REF.format("CloudEvent")}],
        "type": "object",
        "properties": {
            "type": {"type": "string", "const": event_type(topic)},
            "dataschema": {"type": "string", "const": schema_uri(topic)},
            "data": {"$ref": REF.format(topic)},
        },
    }


def _fixed(name: str, sample: Mapping[str, object]) -> dict[str, Any]:
    """Return the schema of a notice, each of which has the members of its sample."""
    kinds = {
        member: {"type": "string"}
        if isinstance(value, str)
        else {"type": "object", "additionalProperties": {"type": "string"}}
        for member, value in sample.items()
    }
    constant = {member: {"type": "string", "const": sample[member]} for member in ("specversion", "type")}
    return {"title": f"{name}CloudEvent", "type": "object", "required": [*sample], "properties": {**kinds, **constant}}


def _message(name: str) -> dict[str, Any]:
    sample = NOTICES[name].sample if name in NOTICES else sample_cloud_event(name)
    return {**_message_without_sample(name), "examples": [{"name": name, "payload": sample}]}


def _message_with(trait: str, name: str) -> dict[str, Any]:
    """Return a message with the headers of a trait."""
    return {**_message_without_sample(name), "traits": [{"$ref": f"#/components/messageTraits/{trait}"}]}


def _message_without_sample(name: str) -> dict[str, Any]:
    notice = NOTICES.get(name)
    return {
        "name": notice.sample["type"] if notice else event_type(name),
        "title": name,
        "summary": notice.text if notice else meaning_of(SHAPES[name]),
        "contentType": MEDIA_TYPE,
        "payload": {"$ref": REF.format(f"{name}CloudEvent")},
    }


def _security() -> Mapping[str, Any]:
    return {
        "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "machine": {
            "type": "oauth2",
            "scopes": [_SCOPE],
            "flows": {
                "clientCredentials": {
                    "tokenUrl": "https://localhost:8080/v1/auth/token",
                    "availableScopes": {_SCOPE: SCOPES[_SCOPE]},
                }
            },
        },
    }
