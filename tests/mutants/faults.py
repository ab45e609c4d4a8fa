"""One-line faults, each with the tests that are to notice it."""

from __future__ import annotations

from typing import NamedTuple

KINDS = "tests/mutants/test_kinds.py"
STATISTICS = "tests/test_statistics.py"
SIMILARITY = "tests/metrics/test_similarity.py"
ODD = "tests/test_odd_files.py -k tensor"
THRESHOLDS = "bench/metrics/functional/thresholds.py"
DISTRIBUTIONS = "tests/metrics/test_distributions.py"
VIEWS = "tests/faces/test_views.py"
DETECTION = "tests/faces/test_detection.py"
EXTRACT = "tests/stages/test_extract.py"
KEPT = "[eligibility.{0}], values[eligibility.{0}]"
SAMPLE_MEANS = "bench/metrics/shared/sample_means.py"
UNPACK = "tests/assets/test_unpack.py"
PAIRS = "tests/recognition/test_pairs.py"


class Fault(NamedTuple):
    """A fault.

    Attributes:
        file: that has it.
        line: a part of the file that is there once.
        broken: what takes its place.
        tests: that must fail: a file, or options of pytest.
    """

    file: str
    line: str
    broken: str
    tests: str


FAULTS = (
    Fault("bench/report/ranking.py", "sign = 1 if directions.pop() else -1", "sign = 1", KINDS),
    Fault("bench/report/ranking.py", 'rows["p_holm"].astype', 'rows["p_value"].astype', KINDS),
    Fault("bench/stages/generate.py", "sample_seed(protocol.seed, ", "sample_seed(0, ", KINDS),
    Fault("bench/stages/generate.py", 'planned["seed_key"], ', 'planned["item"], ', KINDS),
    Fault("bench/stages/generate.py", "AI_GENERATED if generates else {}", "{}", KINDS),
    Fault("bench/stages/generate.py", "len(outputs) != len(requests)", "len(outputs) < len(requests)", KINDS),
    Fault("bench/stages/generate.py", '"reason": str(wrong)[:LONGEST]', '"reason": str(wrong)', KINDS),
    Fault("bench/data/photos.py", '"role", "sha256"]].to', '"sha256"]].to', KINDS),
    Fault("bench/statistics.py", "min(trials, rate * (1 - rate) / variance)", "rate * (1 - rate) / variance", KINDS),
    Fault("bench/statistics.py", "signs @ sizes) >= _bound(sums)", "signs @ sizes) > 1.001 * _bound(sums)", KINDS),
    Fault("bench/statistics.py", "(1 + hits) / (1 + resamples)]", "hits / resamples]", STATISTICS),
    Fault("bench/statistics.py", "p * (len(order) - rank)", "p * len(order)", STATISTICS),
    Fault("bench/statistics.py", "running = max(running, min(", "running = max(0.0, min(", STATISTICS),
    Fault("bench/statistics.py", "sqrt((size - 1) / size * math.fsum(", "sqrt(math.fsum(", STATISTICS),
    Fault("bench/statistics.py", "size * value - (size - 1) * middle", "value", STATISTICS),
    Fault(THRESHOLDS, "DECIMALS) >= threshold", "DECIMALS) > threshold", KINDS),
    Fault(THRESHOLDS, "[size - 1 - above], np.inf", "[size - 1 - above], -np.inf", SIMILARITY),
    Fault("bench/store.py", "sha256_bytes(data) not in known", "not known", "tests/test_store.py"),
    Fault("bench/store.py", "for sha in replaced if sha in", "for sha in [] if sha in", "tests/test_store.py"),
    Fault("bench/store.py", '["row"])["row"]) != list(rows)', '["row"])["row"]) == []', "tests/test_store.py"),
    Fault("bench/fetching/unpack.py", "if not is_inside(name) or not {", "if {", UNPACK),
    Fault("bench/fetching/unpack.py", " or not {\"\", \".\", \"..\"}.isdisjoint(parts)", "", UNPACK),
    Fault("bench/fetching/unpack.py", ", name).casefold()", ", name)", UNPACK),
    Fault("bench/fetching/unpack.py", "total > RATIO *", "total > 1000000 *", UNPACK),
    Fault("bench/fetching/unpack.py", "if info.compress_type not in PLAIN:", "if False:", UNPACK),
    Fault("bench/recognition/plain_pickle.py", "self._left < 0", "self._left is None", PAIRS),
    Fault("bench/csvs.py", "=+\\-@", "=+\\-", "tests/test_csvs.py"),
    Fault("bench/names.py", "LONGEST = 100", "LONGEST = 300", "tests/test_names.py"),
    Fault("bench/report/differences.py", 'frame["item"].isin(common) & ', "", "tests/report/test_compare.py"),
    Fault("bench/metrics/cmmd.py", "features, usable=nonzero)", "features)", DISTRIBUTIONS),
    Fault("bench/metrics/cmmd.py", "sums.biased()", "sums.plain()", DISTRIBUTIONS),
    Fault("bench/metrics/retrieval.py", "hit = margin[trial] > 0", "hit = margin[trial] >= 0", SIMILARITY),
    Fault("bench/metrics/within_similarity.py", "near, one, near, other,", "near, one, near, one,", SIMILARITY),
    Fault(SAMPLE_MEANS, KEPT.format("trial"), KEPT.format("valid"), SIMILARITY),
    Fault("bench/faces/detection.py", "method = cv2.INTER_AREA if", "method = cv2.INTER_LINEAR if", DETECTION),
    Fault("bench/faces/detection.py", "np.array([width, height])", "np.array([height, width])", DETECTION),
    Fault("bench/faces/views.py", "align.move(face.landmarks, aligned.matrix))", "face.landmarks)", VIEWS),
    Fault("bench/faces/parsing.py", ", antialias=True", "", "tests/faces/test_parsing.py"),
    Fault("bench/stages/score.py", "seed=spec.protocol.seed", "seed=0", "tests/stages/test_integrity.py"),
    Fault("bench/stages/extract.py", "for crop in (one, other)", "for crop in (one,)", EXTRACT),
    Fault("bench/stages/extract.py", '"foreground_j": other.foreground', '"foreground_j": one.foreground', EXTRACT),
    Fault("bench/execution/work.py", "has_ended.set()", "pass", "tests/execution/test_ends.py -k ahead"),
    Fault("bench/weights.py", "nbytes > content.untyped", "nbytes < -content.untyped", ODD),
)  # fmt: skip
