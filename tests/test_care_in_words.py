"""What equal care rests on, in sentences, against numbers worked out by hand."""

from invented import PLAIN, SPARSE, classified, score
from scipy import stats
from test_invariance_in_words import told_plainly

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import care_in_words
from sparseconv_lib.study.grid import PATIENT, TUNING
from sparseconv_lib.study.protocol import preset


def test_tuning_tells_what_the_common_rate_costs_each_network(recorded):
    scores = {0.003: 0.95, 0.01: 0.97, 0.03: 0.98, 0.1: 0.9}
    candidates = [
        {"learning_rate": rate, "epochs": 9, "best_epoch": 6, "held_out_accuracy": score}
        for rate, score in scores.items()
    ]
    recorded(classified(PLAIN, 0.5, 0, TUNING, candidates=candidates))
    told = told_plainly(care_in_words.tuning())
    assert "ConvNet 95.00 (0.003), 97.00 (0.01), 98.00 (0.03), 90.00 (0.1)" in told
    assert "(0.01 costs it 1.00 points)" in told and "n = 1" in told
    assert "Not tried: ConvNet+mask, SparseConvNet and SparseConvNet-kept. (" in told
    candidates[1]["held_out_accuracy"] = 0.99
    recorded(classified(PLAIN, 0.5, 0, TUNING, candidates=candidates))
    assert "(0.01 is the best)" in care_in_words.tuning()
    candidates[2]["held_out_accuracy"] = 0.99
    recorded(classified(PLAIN, 0.5, 0, TUNING, candidates=candidates))
    assert "(0.01 and 0.03 are the best)" in care_in_words.tuning()
    recorded(*(classified(network, 0.5, 0, TUNING, candidates=candidates) for network in NETWORKS))
    assert "Not tried" not in care_in_words.tuning()


def test_whether_longer_trainings_are_the_better_ones_is_told(recorded):
    def trained(network, p, seed, epochs, gain):
        tried = {"learning_rate": 0.01, "epochs": epochs, "best_epoch": 1}
        return classified(
            network, p, seed, shift=gain, candidates=[tried | {"held_out_accuracy": 0.9}]
        )

    lengths, gains = (4, 9, 19), (0.0, 0.03, 0.02)
    found = [trained(PLAIN, 0.8, s, lengths[s], gains[s]) for s in range(3)]
    recorded(*found[:2])
    assert "not been run by three seeds" in care_in_words.stopping()
    recorded(*found)
    own = [score(PLAIN, 0.8, 0.8, s) + gains[s] for s in range(3)]
    far = [score(PLAIN, 0.8, 0.0, s) + gains[s] for s in range(3)]
    there, away = (stats.pearsonr(lengths, scores) for scores in (own, far))
    told = told_plainly(care_in_words.stopping())
    r = there.statistic
    assert "after 4 to 19 epochs" in told
    assert (
        f"above 0 in 1 of 1 cases, which share their seeds, from +{r:.2f} to +{r:.2f} (n = 3 each; "
        in told
    )
    p = f"two-sided p-value {away.pvalue:.2f}"
    assert told.endswith(f"tested at p = 0, it is +{away.statistic:.2f} ({p}, n = 3).")
    recorded(*(trained(PLAIN, 0.8, s, lengths[s], -5 * gains[s]) for s in range(3)))
    assert "above 0 in 0 of 1 cases, which share their seeds, from −" in told_plainly(
        care_in_words.stopping()
    )
    recorded(*(trained(PLAIN, p, s, lengths[s], (-5 if p < 0.6 else 1) * gains[s])
               for p in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95) for s in range(3)))  # fmt: skip
    assert "above 0 in 4 of 6 cases, which" in told_plainly(care_in_words.stopping())


def test_what_more_patience_gives_is_paired_with_the_usual_trainings(recorded):
    usual = [classified(network, 0.8, s) for network in (PLAIN, SPARSE) for s in range(4)]
    recorded(*usual)
    assert care_in_words.patience() == (
        "Whether more patience would change this has not been run yet."
    )
    gained = (0.01, 0.02, 0.03)
    tried = {"learning_rate": 0.01, "best_epoch": 1, "held_out_accuracy": 0.9}
    longer = [
        classified(network, 0.8, s, PATIENT, shift=factor * gained[s],
                   candidates=[tried | {"epochs": 12 + s}])
        for network, factor in ((PLAIN, 1), (SPARSE, 0.1)) for s in range(3)
    ]  # fmt: skip
    recorded(*usual, *longer)
    told = told_plainly(care_in_words.patience())
    # By hand, in points: 1, 2 and 3, or a tenth of it; t with 2 degrees is 4.303.
    gain, half = 2.0, 4.303 / 3**0.5
    each = f"ConvNet +{gain:.1f} ± {half:.1f}, SparseConvNet +{gain / 10:.1f} ± {half / 10:.1f}"
    assert told.startswith("What a patience of 5 epochs gives over one of 2, in points. Trained at")
    assert "at p = 0.8, for 12 to 14 epochs: " in told and "p = 0.5" not in told
    assert f"tested at 0.8, {each}; tested at 0, {each}; and " in told
    # Over ConvNet at 0: 5 · 0.8 points, 0.1 a seed, less nine tenths of what ConvNet gained.
    lead, spread = 4.0 + 0.1 - 1.8, 4.303 * 0.8 / 3**0.5
    assert f"SparseConvNet then has +{lead:.1f} ± {spread:.1f} over ConvNet at 0. " in told
    assert "n = 3; an invented processor" in told
    most = preset(PATIENT, "invariance").epochs
    ended = classified(PLAIN, 0.8, 0, PATIENT, candidates=[tried | {"epochs": most}])
    recorded(*usual, ended, *longer[1:])
    told = told_plainly(care_in_words.patience())
    assert f"for 12 to {most} epochs: " in told  # long after its patience of 5 had run out
    for best, cut in ((most - 6, False), (most - 5, True)):  # from 0: five epochs on, or four
        tried["best_epoch"] = best
        ended = classified(PLAIN, 0.8, 0, PATIENT, candidates=[tried | {"epochs": most}])
        recorded(*usual, ended, *longer[1:])
        assert ("cut off" in care_in_words.patience()) is cut
    told = told_plainly(care_in_words.patience())
    assert f"for 12 to {most} epochs (1 of 6 cut off by the limit of {most}): " in told
