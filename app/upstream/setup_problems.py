"""What can be wrong with the set-up of an SFU that creates channels all the same: codes, and words for people."""

from typing import Final, Literal

SetupProblem = Literal[
    "clock_off", "forwarded_for_ignored", "public_url_contradicted", "region_not_allowed", "url_not_https"
]

WORDS: Final[dict[SetupProblem, str]] = {
    "clock_off": "the SFU's clock is off: some minutes ahead it refuses every token. Run NTP on it",
    "forwarded_for_ignored": (
        "the SFU ignores X-Forwarded-For, so behind two gateway replicas one call can get two channels. "
        "Set PROXY=1, and keep its HTTP port out of strangers' reach"
    ),
    "public_url_contradicted": (
        "the SFU calls itself by another URL than the one registered for it, which callers get. "
        "It runs without PROXY, or the public URL is wrong"
    ),
    "url_not_https": (
        "the SFU's URL is http, which browsers refuse on the https pages of its Odoo. "
        "Register an https public URL (SFU_PUBLIC_URL)"
    ),
    "region_not_allowed": (
        "no tenant may use the SFU's region, so it gets no calls. See SFU_REGION, balancing.region_allow and the "
        "tenants' region_allow"
    ),
}
