"""A short soak succeeds, and the soak complains about growing use of resources."""

from collections import Counter

from stress.soak import GROWTH_MB, SoakResult, Usage, report, soak
from stress.soak_requests import KINDS


def test_a_short_soak_finds_nothing_wrong(tmp_path):
    result = soak(tmp_path, requests=150, clients=4, seed=0)
    assert not result.wrong_answers, report(result)
    assert len({kind for kind, _ in result.statuses} & {kind.__name__ for kind in KINDS}) > len(KINDS) // 2
    assert sum(result.statuses.values()) == 150
    first, last = result.usages[0], result.usages[-1]
    # So few requests show nothing about memory yet.
    assert last.files <= first.files + 5 and last.threads <= first.threads, report(result)


def test_growing_use_of_resources_is_reported():
    steady = [Usage(requests, 500 + requests % 3, 20, 100) for requests in range(0, 1100, 100)]
    assert SoakResult(usages=steady).complaints() == []
    growing = [Usage(usage.requests, 500 + usage.requests * GROWTH_MB / 900, 20, 100) for usage in steady]
    (complaint,) = SoakResult(usages=growing).complaints()
    assert "memory grew by 33.3 MB" in complaint
    assert "40 files are open, 20 were before" in SoakResult(usages=[*steady, Usage(1100, 500, 40, 100)]).complaints()
    assert (
        "101 threads are running, 100 were before"
        in SoakResult(usages=[*steady, Usage(1100, 500, 20, 101)]).complaints()
    )
    wrong = SoakResult(
        statuses=Counter({("caption", 500): 1}), wrong_answers=["caption was answered with 500"], usages=steady
    )
    assert "verdict: 1 complaints" in report(wrong) and "caption: 1 x 500" in report(wrong)
