"""Routes for users."""

from ledger import errors
from web import requests, responses
from web.handlers import own_password, users
from web.http.pagination import PAGE
from web.http.params import PERIOD, POINT_IN_TIME
from web.routes.route import ADMIN, ANYONE, AUDITOR, CREATED, TAGGED, Operation, Route

ROUTES = (
    Route(
        "GET",
        "/users",
        users.list_users,
        AUDITOR,
        Operation(
            "List users, newest first",
            response_model=list[responses.User],
            parameters=(*PAGE, users.USERNAME, users.ACTIVE, *PERIOD, *POINT_IN_TIME),
        ),
        scope="users:read",
    ),
    Route(
        "POST",
        "/users",
        users.create_user,
        ADMIN,
        Operation(
            "Create a user",
            response_model=responses.User,
            status=201,
            request_model=requests.NewUser,
            refusals=(errors.user_already_exists,),
            response_headers=CREATED,
        ),
        scope="users:write",
        is_sensitive=True,
    ),
    Route(
        "GET",
        "/users/{id}",
        users.get_user,
        ANYONE,
        Operation(
            "Get a user, now or at a point in time",
            response_model=responses.User,
            parameters=POINT_IN_TIME,
            refusals=(errors.user_not_found,),
            response_headers=TAGGED,
        ),
        scope="users:read",
    ),
    Route(
        "PUT",
        "/users/{id}",
        users.update_user,
        ADMIN,
        Operation(
            "Update a user",
            response_model=responses.User,
            request_model=requests.User,
            refusals=(errors.user_not_found, errors.user_already_exists, errors.id_mismatch, errors.last_admin),
            response_headers=TAGGED,
            is_conditional=True,
        ),
        scope="users:write",
        is_sensitive=True,
    ),
    Route(
        "PATCH",
        "/users/{id}",
        users.patch_user,
        ADMIN,
        Operation(
            "Change single members of a user",
            response_model=responses.User,
            request_model=requests.UserPatch,
            refusals=(errors.user_not_found, errors.user_already_exists, errors.id_mismatch, errors.last_admin),
            response_headers=TAGGED,
            is_conditional=True,
        ),
        scope="users:write",
        is_sensitive=True,
    ),
    Route(
        "POST",
        "/users/me/password",
        own_password.change_password,
        ANYONE,
        Operation(
            "Change one's own password",
            response_model=responses.Tokens,
            issues_tokens=True,
            request_model=requests.OwnPassword,
            note="The other sessions of the user end. This one goes on with the pair of tokens in the response.",
        ),
    ),
    Route(
        "DELETE",
        "/users/{id}",
        users.delete_user,
        ADMIN,
        Operation(
            "Delete a user and close their accounts",
            refusals=(errors.user_not_found, errors.account_not_empty, errors.last_admin),
            is_conditional=True,
        ),
        scope="users:write",
        is_sensitive=True,
    ),
)
