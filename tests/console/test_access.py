"""Everybody can sign in, find the keys and choose a scheme; `test_views.py` has what each view keeps to."""

from tests.support.axe import findings
from tests.support.console import Console


async def test_signing_in_and_the_keys_are_accessible(console: Console) -> None:
    await console.page.open(str(console.api.client.make_url("/console")))
    await console.until("document.querySelector('.sign-in')")
    assert [] == await findings(console.page)
    await console.sign_in("admin", "the-admin's-password")
    await console.page.press("?")
    await console.until("document.querySelector('dialog[open]')")
    assert [] == await findings(console.page)


async def test_the_scheme_is_switched_and_kept(console: Console) -> None:
    await console.open()
    background = "getComputedStyle(document.body).backgroundColor"
    light = await console.run(background)

    await console.click(".menu summary")
    await console.click(".menu-body button")
    dark = await console.run(background)
    await console.load("/accounts")

    assert light != dark
    assert dark == await console.run(background)
