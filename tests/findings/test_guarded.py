"""What a verdict says of the policies that guarded a training."""

from __future__ import annotations

import pytest

from trimtab.findings import Guarded, judge

from ._planted import falling, record, series, table


def guarded(policies: list[str], **columns: object) -> tuple[Guarded, ...]:
    planted = record(series(falling(200), info={"policies": policies}))
    rows = len(columns["step"]) if columns else 0  # type: ignore[arg-type]
    planted.rows["guard"] = table("guard", rows, process=0, optimizer=0, **columns)
    return judge(planted).guard


def test_no_policy_no_word() -> None:
    assert judge(record(series(falling(200)))).guard == ()


def test_a_policy_that_did_nothing_is_named() -> None:
    assert guarded(["skip=spike:6"]) == (Guarded("skip=spike:6", 200, 0, 0),)


@pytest.mark.parametrize(("count", "warns"), [(1, False), (2, False), (3, True), (20, True)])
def test_more_than_one_in_a_hundred_left_out_is_warned_of(count: int, warns: bool) -> None:
    (found,) = guarded(["skip=nonfinite"], step=list(range(count)), policy="skip=nonfinite", skipped=True)
    assert (found.acted, found.skipped) == (count, count)
    assert bool(found.warns) is warns


@pytest.mark.parametrize(
    ("policy", "count", "warns"),
    [
        ("clip=global:1", 200, True),
        ("clip=global:1", 181, True),
        ("clip=global:1", 150, False),
        ("clip=tensor:1", 200, True),
        ("clip=autoclip:10", 200, False),
        ("gradient=normalised:1", 200, False),
    ],
)
def test_a_fixed_threshold_at_work_at_every_step_is_warned_of(policy: str, count: int, warns: bool) -> None:
    columns = {"step": list(range(count)), "policy": policy, "skipped": False, "scale": 0.25}
    (found,) = guarded([policy], **columns)
    assert found.least_scale == 0.25
    assert bool(found.warns) is warns
    assert not warns or "0.25 of their length" in found.warns


def test_the_first_rank_speaks_for_all() -> None:
    tracks = [series(falling(200), process=rank, info={"policies": ["clip=global:1"]}) for rank in (0, 1)]
    planted = record(*tracks)
    columns = {"policy": "clip=global:1", "skipped": False, "scale": 0.5, "optimizer": 0}
    planted.rows["guard"] = table("guard", 4, process=[0, 0, 1, 1], step=[3, 4, 3, 4], **columns)
    assert judge(planted).guard == (Guarded("clip=global:1", 200, 2, 0, 0.5),)


def test_steps_left_out_for_their_length_are_not_called_non_finite() -> None:
    skipped = [40 <= step < 60 for step in range(200)]
    info = {"policies": ["skip=spike:6"]}
    verdict = judge(record(series(falling(200), info=info, skipped=skipped)))
    assert [f.kind for f in verdict.findings] == []
    lost = judge(record(series(falling(200), info=info, skipped=skipped, nonfinite=[int(s) for s in skipped])))
    assert [f.kind for f in lost.findings] == ["non-finite"]
    assert "the guard left out 20 steps in a row from step 40 on" in lost.findings[0].says


@pytest.mark.parametrize(("times", "warns"), [(1, False), (2, True)])
def test_a_return_is_told_and_a_second_one_warned_of(times: int, warns: bool) -> None:
    steps = [step + rest for step in (50, 120)[:times] for rest in range(11)]
    back = [40 if step in (50, 120) else -1 for step in steps]
    policy = "recover=rollback:50,skip=10"
    (found,) = guarded([policy], step=steps, policy=policy, skipped=True, back_to=back)
    assert (found.skipped, found.went_back) == (11 * times, times)
    assert bool(found.warns) is warns
    assert not warns or "went back 2 times" in found.warns


def test_a_cut_of_the_learning_rate_is_told() -> None:
    (found,) = guarded(["warmup=4"], step=[0, 1, 2], policy="warmup=4", skipped=False, lr_scale=[0.25, 0.5, 0.75])
    assert (found.acted, found.least_lr_scale, found.least_scale, found.warns) == (3, 0.25, 1.0, "")
