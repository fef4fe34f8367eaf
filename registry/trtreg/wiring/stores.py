"""The store that the settings name: opened, its records signed and verified, endorsed, tried out."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from trtreg.errors import UsageError
from trtreg.storage import places
from trtreg.storage.signing import SignedStore
from trtreg.wiring.keys import signer_of, trust_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trtreg.interfaces import Progress, Store
    from trtreg.storage.abilities import Ability
    from trtreg.trust.endorsing import Endorsed
    from trtreg.wiring.config import Settings


def open_store(settings: Settings, progress: Progress) -> SignedStore:
    """The store that the settings name, its records signed and verified as they say."""
    return signed(open_places(settings.store, settings, progress), settings, progress)


def open_places(text: str, settings: Settings, progress: Progress) -> Store:
    """The store at the places that `text` names, its records as they lie there."""
    return places.open_store(text, partials=settings.cache / "partial", warn=progress.say)


def signed(store: Store, settings: Settings, progress: Progress) -> SignedStore:
    """`store` with its records signed and verified as the settings say."""
    return SignedStore(
        store,
        trust=trust_of(settings),
        signer=cache(partial(signer_of, settings)),
        tell=progress.say,
    )


def require_writable(store: SignedStore, *, records: bool = True) -> None:
    """Raise UsageError if nothing can be written there, or no `records` that can be read: better before the work."""
    from trtreg.storage.layers import LayeredStore

    if isinstance(store.inner, LayeredStore):
        _ = store.inner.writable
    if records:
        store.require_signer()


def endorse_store(
    settings: Settings,
    progress: Progress,
    *,
    instead_of: str = "",
    all_unsigned: bool = False,
    dry_run: bool = False,
) -> Iterator[Endorsed]:
    """Sign what is in the store already: what is unsigned, or what the key `instead_of` has signed; see `endorsing`.

    Raises UsageError where there is no key to sign with, or that one isn't trusted.
    """
    from trtreg.trust.endorsing import endorse

    if signer_of(settings) is None:
        raise UsageError("there is no key to sign with", hint="trtreg key new makes one, TRTREG_SIGNING_KEY names one")
    store = open_store(settings, progress)
    store.require_signer()
    if instead_of and store.trust.key(instead_of) is None:
        raise UsageError(
            f"the key {instead_of} isn't trusted here, so nothing can be said for what it has signed",
            hint="trtreg key ls lists those that are; distrust it afterwards",
        )
    return endorse(
        store.inner,
        store.signed,
        fits=store.fits,
        instead_of=instead_of,
        all_unsigned=all_unsigned,
        dry_run=dry_run,
    )


def try_store(settings: Settings) -> dict[str, list[Ability]]:
    """What each place of the store can do, found out by doing it."""
    from trtreg.storage.places import parse_places, try_out

    return {str(place): try_out(place, partials=settings.cache / "partial") for place in parse_places(settings.store)}
