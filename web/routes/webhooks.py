"""Routes for webhooks: admins reach all of them, machine clients those that they created."""

from dataclasses import replace

from ledger import errors
from ledger.commands.webhooks import (
    delivery_not_found,
    too_many_webhooks,
    webhook_already_exists,
    webhook_client_revoked,
    webhook_disabled,
    webhook_not_found,
)
from web import webhooks as models
from web.handlers import webhooks
from web.http.pagination import PAGE
from web.routes.route import ADMIN, CREATED, TAGGED, Operation, Route

OWNER = replace(ADMIN, owned=True, machine_roles=frozenset({"auditor", "customer"}))
READ, WRITE = "webhooks:read", "webhooks:write"

ROUTES = (
    Route(
        "GET",
        "/webhooks",
        webhooks.list_webhooks,
        OWNER,
        Operation("List webhooks, newest first", response_model=list[models.Webhook], parameters=PAGE),
        scope=READ,
    ),
    Route(
        "POST",
        "/webhooks",
        webhooks.create_webhook,
        OWNER,
        Operation(
            "Create a webhook; its secret is shown once",
            response_model=models.CreatedWebhook,
            status=201,
            request_model=models.NewWebhook,
            refusals=(webhook_already_exists, too_many_webhooks),
            response_headers=CREATED,
            note="A client's webhook sends only events about the accounts that the client is limited to.",
        ),
        scope=WRITE,
        is_sensitive=True,
    ),
    Route(
        "GET",
        "/webhooks/{id}",
        webhooks.get_webhook,
        OWNER,
        Operation(
            "Get a webhook",
            response_model=models.Webhook,
            refusals=(webhook_not_found,),
            response_headers=TAGGED,
        ),
        scope=READ,
    ),
    Route(
        "PATCH",
        "/webhooks/{id}",
        webhooks.patch_webhook,
        OWNER,
        Operation(
            "Change single members of a webhook",
            response_model=models.Webhook,
            request_model=models.WebhookPatch,
            refusals=(webhook_not_found, errors.id_mismatch),
            response_headers=TAGGED,
            is_conditional=True,
        ),
        scope=WRITE,
        is_sensitive=True,
    ),
    Route(
        "DELETE",
        "/webhooks/{id}",
        webhooks.delete_webhook,
        OWNER,
        Operation("Delete a webhook and its secrets", refusals=(webhook_not_found,), is_conditional=True),
        scope=WRITE,
    ),
    Route(
        "POST",
        "/webhooks/{id}/rotate-secret",
        webhooks.rotate_secret,
        OWNER,
        Operation(
            "Give a webhook a new secret, which is shown once",
            response_model=models.RotatedWebhook,
            request_model=models.SecretRotation,
            body_is_optional=True,
            refusals=(webhook_not_found,),
        ),
        scope=WRITE,
        is_sensitive=True,
    ),
    Route(
        "POST",
        "/webhooks/{id}/disable",
        webhooks.disable_webhook,
        OWNER,
        Operation(
            "Let a webhook send nothing",
            response_model=models.Webhook,
            refusals=(webhook_not_found,),
            response_headers=TAGGED,
        ),
        scope=WRITE,
    ),
    Route(
        "POST",
        "/webhooks/{id}/enable",
        webhooks.enable_webhook,
        OWNER,
        Operation(
            "Let a webhook send events again",
            response_model=models.Webhook,
            request_model=models.Enabling,
            body_is_optional=True,
            refusals=(webhook_not_found, webhook_client_revoked),
            response_headers=TAGGED,
        ),
        scope=WRITE,
    ),
    Route(
        "POST",
        "/webhooks/{id}/redeliver",
        webhooks.redeliver_events,
        OWNER,
        Operation(
            "Send one event once more, or all from a position on",
            request_model=models.Redelivery,
            refusals=(webhook_not_found, webhook_disabled, delivery_not_found),
        ),
        scope=WRITE,
    ),
    Route(
        "POST",
        "/webhooks/{id}/test",
        webhooks.test_webhook,
        OWNER,
        Operation(
            "Send a test to the endpoint, and wait for its answer",
            response_model=models.Delivery,
            refusals=(webhook_not_found,),
            starts_process=True,
        ),
        scope=WRITE,
    ),
    Route(
        "GET",
        "/webhooks/{id}/deliveries",
        webhooks.list_deliveries,
        OWNER,
        Operation(
            "List the last deliveries of a webhook, newest first",
            response_model=list[models.Delivery],
            parameters=PAGE,
            refusals=(webhook_not_found,),
        ),
        scope=READ,
    ),
    Route(
        "GET",
        "/webhooks/{id}/progress",
        webhooks.get_progress,
        OWNER,
        Operation(
            "Get how far a webhook has come",
            response_model=models.Progress,
            refusals=(webhook_not_found,),
        ),
        scope=READ,
    ),
)
