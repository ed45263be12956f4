"""Routes for machine clients. No machine may call them."""

from ledger import errors
from ledger.commands.clients import INVALID_CLIENT, INVALID_SCOPE, client_already_exists, client_not_found
from web import clients as models
from web.auth import PUBLIC
from web.handlers import client_tokens, clients
from web.http.errors import (
    DATABASE_DOWN,
    OVERLOADED,
    UNSUPPORTED_GRANT_TYPE,
    invalid_token_request,
    outcome_unknown,
)
from web.http.pagination import PAGE
from web.routes.route import ADMIN, CREATED, TAGGED, Operation, Route

ROUTES = (
    Route(
        "POST",
        "/auth/token",
        client_tokens.issue_client_token,
        PUBLIC,
        Operation(
            "Get an access token for a machine client",
            response_model=models.AccessToken,
            issues_tokens=True,
            request_model=models.TokenRequest,
            is_form=True,
            refusals=(
                *(invalid_token_request, UNSUPPORTED_GRANT_TYPE, INVALID_SCOPE, INVALID_CLIENT),
                *(DATABASE_DOWN, OVERLOADED, outcome_unknown),
            ),
            note="Errors also have the members `error` and `error_description` of RFC 6749, section 5.2.",
        ),
    ),
    Route(
        "GET",
        "/clients",
        clients.list_clients,
        ADMIN,
        Operation("List machine clients, newest first", response_model=list[models.MachineClient], parameters=PAGE),
    ),
    Route(
        "POST",
        "/clients",
        clients.register_client,
        ADMIN,
        Operation(
            "Register a machine client; its secret is shown once",
            response_model=models.RegisteredClient,
            status=201,
            request_model=models.NewClient,
            refusals=(client_already_exists, errors.account_not_found),
            response_headers=CREATED,
        ),
        is_sensitive=True,
    ),
    Route(
        "GET",
        "/clients/{id}",
        clients.get_client,
        ADMIN,
        Operation(
            "Get a machine client",
            response_model=models.MachineClient,
            refusals=(client_not_found,),
            response_headers=TAGGED,
        ),
    ),
    Route(
        "PATCH",
        "/clients/{id}",
        clients.patch_client,
        ADMIN,
        Operation(
            "Change single members of a machine client",
            response_model=models.MachineClient,
            request_model=models.ClientPatch,
            refusals=(client_not_found, errors.id_mismatch, errors.account_not_found),
            response_headers=TAGGED,
            is_conditional=True,
        ),
        is_sensitive=True,
    ),
    Route(
        "DELETE",
        "/clients/{id}",
        clients.revoke_client,
        ADMIN,
        Operation(
            "Revoke a machine client, its secrets and its tokens",
            refusals=(client_not_found,),
            is_conditional=True,
        ),
        is_sensitive=True,
    ),
    Route(
        "POST",
        "/clients/{id}/secrets",
        clients.rotate_client_secret,
        ADMIN,
        Operation(
            "Give a machine client a new secret, which is shown once",
            response_model=models.RotatedClient,
            request_model=models.Rotation,
            body_is_optional=True,
            refusals=(client_not_found,),
        ),
        is_sensitive=True,
    ),
)
