"""Entries beside counters: equal, between two readings, or told apart by how much; and windows by name."""

import pytest

from router.statement.counters import BY_ACCOUNT, compared
from router.statement.period import Period, read_period
from router.statement.sums import Statement, Sums
from router.store.balances import Balance
from router.store.ledger import ORGANISATION_ACCOUNT, Window, tenant_account

OWN = Window(tenant_account("t"), "day", 100, "tenant 't'")
SHARED = Window(ORGANISATION_ACCOUNT, "day", 100, "organisation 'acme'")
ENTRIES = Statement(BY_ACCOUNT, {
    ("acme", "t"): Sums(requests=2, nano_usd=30, unknown=1),
    ("acme", "u"): Sums(requests=1, nano_usd=12),
    ("other", "t"): Sums(requests=1, nano_usd=1000),
})  # fmt: skip


def counted(window: Window, spent: int) -> list[Balance]:
    return [Balance(window, "2026-11-30", begins_at=0, ends_at=86_400, at=0.0, spent=spent, reserved=0)]


@pytest.mark.parametrize(
    ("before", "after", "difference"), [(30, 30, 0), (20, 40, 0), (31, 35, -1), (10, 29, 1), (0, 0, 30)]
)
def test_entries_that_lie_between_two_readings_agree(before: int, after: int, difference: int) -> None:
    (found,) = compared([("acme", OWN)], ENTRIES, before=counted(OWN, before), after=counted(OWN, after))
    assert (found.entries, found.unknown, found.difference) == (30, 1, difference)


def test_an_organisations_window_has_the_entries_of_all_its_tenants_and_of_no_other() -> None:
    (found,) = compared([("acme", SHARED)], ENTRIES, before=counted(SHARED, 42), after=counted(SHARED, 42))
    assert (found.entries, found.difference) == (42, 0)


def test_a_tenant_without_entries_has_none() -> None:
    nobody = Window(tenant_account("nobody"), "day", 100, "tenant 'nobody'")
    (found,) = compared([("acme", nobody)], ENTRIES, before=counted(nobody, 0), after=counted(nobody, 0))
    assert (found.entries, found.difference) == (0, 0)


NOW = 1_764_500_000.0  # 2025-11-30T10:53:20


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("day", Period("day", "2025-11-30", 1_764_460_800, 1_764_547_200)),
        ("2025-11-30", Period("day", "2025-11-30", 1_764_460_800, 1_764_547_200)),
        ("hour", Period("hour", "2025-11-30T10", 1_764_496_800, 1_764_500_400)),
        ("month", Period("month", "2025-11", 1_761_955_200, 1_764_547_200)),
        ("1970-01", Period("month", "1970-01", 0, 31 * 86_400)),
        ("week", None),
        ("2025-11-31", None),
        ("2025-1", None),
        ("", None),
    ],
)
def test_a_window_is_named_by_now_or_by_its_label(text: str, period: Period | None) -> None:
    assert read_period(text, now=NOW) == period
