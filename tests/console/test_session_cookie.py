"""The console's session: cookies that no script can read, and that count only in requests of the console's pages."""

from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest

from ledger.settings import Settings
from tests.support.controls import ADMIN_PASSWORD, PASSWORD, Api, Clock, Response, Serve
from tests.support.second_factors import enrol

SESSION = "/console/session"
OURS = {"Sec-Fetch-Site": "same-origin"}
JSON = {"Content-Type": "application/json"}
ADMIN = {"username": "admin", "password": ADMIN_PASSWORD}

Cookies = dict[str, "Morsel[str]"]


def cookies_of(answer: Response) -> Cookies:
    found: SimpleCookie = SimpleCookie()
    for header in answer.headers.getall("Set-Cookie", []):
        found.load(header)
    return dict(found)


def sent(cookies: Cookies, **headers: str) -> dict[str, str]:
    """Return the headers of a request of the console's pages with these cookies."""
    return {**OURS, "Cookie": "; ".join(f"{name}={cookie.value}" for name, cookie in cookies.items()), **headers}


async def sign_in(api: Api, **members: str) -> Cookies:
    answer = await api.nobody.post(SESSION, {**ADMIN, **members}, headers=OURS)
    assert (204, "") == (answer.status, answer.body)
    return cookies_of(answer)


async def test_signing_in_sets_two_cookies_that_no_script_can_read(api: Api) -> None:
    cookies = await sign_in(api)

    assert {"ledger-access", "ledger-refresh"} == cookies.keys()
    assert all(cookie["httponly"] and cookie["samesite"] == "Strict" for cookie in cookies.values())
    assert ["/", "/console/session"] == [cookie["path"] for cookie in cookies.values()]
    assert [3600, 7_776_000] == [int(cookie["max-age"]) for cookie in cookies.values()]


async def test_cookies_of_other_hosts_than_this_machine_are_for_tls_only(api: Api) -> None:
    answer = await api.nobody.post(SESSION, ADMIN, headers={**OURS, "Host": "ledger.example.com"})
    cookies = cookies_of(answer)

    assert {"__Host-ledger-access", "__Secure-ledger-refresh"} == cookies.keys()
    assert all(cookie["secure"] for cookie in cookies.values())
    assert 200 == (await api.nobody.get(SESSION, headers=sent(cookies, Host="ledger.example.com"))).status
    assert 204 == (await api.nobody.get(SESSION, headers=sent(cookies))).status  # they have other names there


async def test_the_session_says_who_has_signed_in(api: Api) -> None:
    user = await api.new_user(roles="auditor,customer")
    cookies = await sign_in(api, username=user["username"], password=PASSWORD)

    answer = await api.nobody.get(SESSION, headers=sent(cookies))

    assert (user["id"], user["username"], ["auditor", "customer"]) == (
        answer.body["id"],
        answer.body["username"],
        answer.body["roles"],
    )
    assert {"id", "username", "roles", "session_id", "expires_at"} == answer.body.keys()


async def test_without_cookies_nobody_has_signed_in(api: Api) -> None:
    ours = await api.nobody.get(SESSION, headers=OURS)
    other = await api.nobody.get(SESSION)

    assert [204, 401] == [ours.status, other.status]


async def test_the_api_accepts_the_cookie_from_the_consoles_pages(api: Api) -> None:
    cookies = await sign_in(api)
    user = await api.new_user()

    read = await api.nobody.get("/v1/accounts", headers=sent(cookies))
    written = await api.nobody.post("/v1/accounts", {"user_id": user["id"]}, headers=sent(cookies))
    closed = await api.nobody.delete(f"/v1/accounts/{written.body['id']}", headers=sent(cookies, **JSON))

    assert [200, 201, 200] == [read.status, written.status, closed.status]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "", None])
async def test_the_api_ignores_the_cookie_in_requests_of_other_pages(api: Api, site: str | None) -> None:
    headers = sent(await sign_in(api))
    del headers["Sec-Fetch-Site"]
    if site is not None:
        headers["Sec-Fetch-Site"] = site

    read = await api.nobody.get("/v1/accounts", headers=headers)
    written = await api.nobody.post("/v1/auth/revoke-all", headers={**headers, **JSON})
    refreshed = await api.nobody.post(f"{SESSION}/refresh", headers={**headers, **JSON})
    signed_in = await api.nobody.post(SESSION, ADMIN, headers=headers)
    signed_out = await api.nobody.delete(SESSION, headers={**headers, **JSON})

    assert {401} == {answer.status for answer in (read, written, refreshed, signed_in, signed_out)}
    assert not cookies_of(signed_out)
    assert 200 == (await api.get("/v1/accounts")).status  # nothing was revoked


@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", None])
async def test_a_form_changes_nothing(api: Api, media: str | None) -> None:
    headers = sent(await sign_in(api), **({} if media is None else {"Content-Type": media}))

    for method, path in (("POST", "/v1/auth/revoke-all"), ("POST", f"{SESSION}/refresh"), ("DELETE", SESSION)):
        async with api.client.request(method, path, headers=headers, data=b"") as answer:
            assert 401 == answer.status


async def test_a_header_counts_alone(api: Api) -> None:
    """A token that is not valid is not replaced by the cookie."""
    cookies = await sign_in(api)

    for authorization in ("Bearer nonsense", "Basic YTpi", ""):
        answer = await api.nobody.get("/v1/accounts", headers=sent(cookies, Authorization=authorization))
        assert 401 == answer.status


async def test_a_refresh_token_in_the_cookie_is_no_access_token(api: Api) -> None:
    cookies = await sign_in(api)
    swapped = {"ledger-access": cookies["ledger-refresh"], "ledger-refresh": cookies["ledger-access"]}

    read = await api.nobody.get("/v1/accounts", headers=sent(swapped))
    refreshed = await api.nobody.post(f"{SESSION}/refresh", headers=sent(swapped, **JSON))
    of_api = await api.nobody.post("/v1/auth/refresh", headers=sent(cookies, **JSON))

    assert [401, 401, 401] == [read.status, refreshed.status, of_api.status]


async def test_a_revoked_session_ends_at_once(api: Api) -> None:
    cookies = await sign_in(api)
    session = (await api.nobody.get(SESSION, headers=sent(cookies))).body["session_id"]

    assert 200 == (await api.delete(f"/v1/auth/sessions/{session}")).status

    assert 401 == (await api.nobody.get("/v1/accounts", headers=sent(cookies))).status
    assert 401 == (await api.nobody.get(SESSION, headers=sent(cookies))).status


async def test_a_demoted_user_loses_the_session(api: Api) -> None:
    user = await api.new_user(roles="admin")
    cookies = await sign_in(api, username=user["username"], password=PASSWORD)

    await api.patch(f"/v1/users/{user['id']}", {"roles": "guest"})

    assert 401 == (await api.nobody.get("/v1/users", headers=sent(cookies))).status


async def test_a_session_is_extended_by_a_new_pair(api: Api) -> None:
    first = await sign_in(api)

    answer = await api.nobody.post(f"{SESSION}/refresh", headers=sent(first, **JSON))
    second = cookies_of(answer)

    assert (204, "") == (answer.status, answer.body)
    assert 401 == (await api.nobody.get("/v1/accounts", headers=sent(first))).status
    assert 200 == (await api.nobody.get("/v1/accounts", headers=sent(second))).status


async def test_two_tabs_that_extend_the_session_with_one_key_keep_it(api: Api) -> None:
    first = await sign_in(api)
    keyed = sent(first, **JSON, **{"Idempotency-Key": "2026-11-29T12:00:00Z"})

    one = await api.nobody.post(f"{SESSION}/refresh", headers=keyed)
    other = await api.nobody.post(f"{SESSION}/refresh", headers=keyed)

    values = [{name: cookie.value for name, cookie in cookies_of(each).items()} for each in (one, other)]
    assert values[0] == values[1]
    assert 200 == (await api.nobody.get("/v1/accounts", headers=sent(cookies_of(other)))).status


async def test_signing_out_ends_the_session_and_clears_the_cookies(api: Api) -> None:
    cookies = await sign_in(api)

    answer = await api.nobody.delete(SESSION, headers=sent(cookies, **JSON))
    again = await api.nobody.delete(SESSION, headers=sent(cookies, **JSON))

    for each in (answer, again):
        assert (204, {"ledger-access": "", "ledger-refresh": ""}) == (
            each.status,
            {name: cookie.value for name, cookie in cookies_of(each).items()},
        )
    assert 401 == (await api.nobody.get("/v1/accounts", headers=sent(cookies))).status


async def test_signing_in_is_limited_and_explained_as_a_login_is(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"ledger_login_attempts_per_account": 2}))

    answers = [
        await api.nobody.post(SESSION, {**ADMIN, "password": "wrong"}, headers=OURS),
        await api.nobody.post(SESSION, {"username": "admin"}, headers=OURS),
        await api.nobody.post(SESSION, {**ADMIN, "password": "wrong"}, headers=OURS),
        await api.nobody.post(SESSION, ADMIN, headers=OURS),
    ]

    assert [401, 400, 401, 429] == [answer.status for answer in answers]
    assert ["authentication_wrong_credentials", "authentication_missing_credentials"] == [
        answer.codes[0] for answer in answers[:2]
    ]
    assert not any(cookies_of(answer) for answer in answers)


async def test_a_second_factor_is_asked_for(api: Api) -> None:
    device = await enrol(api, Clock(), ADMIN_PASSWORD)

    without = await api.nobody.post(SESSION, ADMIN, headers=OURS)
    cookies = await sign_in(api, otp=device.recovery_codes[0])

    assert (401, ["authentication_otp_required"]) == (without.status, without.codes)
    assert 200 == (await api.nobody.get(SESSION, headers=sent(cookies))).status


async def test_without_revocation_signing_out_still_clears_the_cookies(serve: Serve, settings: Settings) -> None:
    api = await serve(settings.model_copy(update={"jwt_enable_revoked_tokens": False}))
    cookies = await sign_in(api)

    answer: Any = await api.nobody.delete(SESSION, headers=sent(cookies, **JSON))

    assert (204, 2) == (answer.status, len(cookies_of(answer)))
