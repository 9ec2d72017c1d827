"""note_setup.lua: what replicas have seen to be wrong with the set-up of an SFU."""

from tests.lua.fleet import KEY, A, Fleet


async def test_what_is_wrong_is_shown_until_a_look_finds_it_right(fleet: Fleet) -> None:
    generation = (await fleet.beat()).generation
    assert await fleet.registry.fleet.note_setup(A, generation, ["clock_off", "url_not_https"])
    await fleet.beat()
    assert (await fleet.registry.fleet.describe(A)).setup == "clock_off url_not_https"
    assert await fleet.registry.fleet.note_setup(A, generation, [])
    assert (await fleet.registry.fleet.describe(A)).setup == ""


async def test_a_look_at_a_former_registration_is_not_kept(fleet: Fleet) -> None:
    generation = (await fleet.beat()).generation
    await fleet.registry.fleet.note_setup(A, generation, ["clock_off"])
    await fleet.registry.registrations.sign_off(A, KEY)
    assert not await fleet.registry.fleet.note_setup(A, generation, ["url_not_https"])
    await fleet.beat()
    assert not await fleet.registry.fleet.note_setup(A, generation, ["url_not_https"])
    assert (await fleet.registry.fleet.describe(A)).setup == ""


async def test_an_unknown_sfu_gets_no_entry(fleet: Fleet) -> None:
    assert not await fleet.registry.fleet.note_setup(A, 1, ["clock_off"])
    assert await fleet.client.exists(fleet.keys.node(A)) == 0
