"""What Prometheus reads in a response of /metrics."""

from __future__ import annotations

from typing import Any


def series_of(text: str, prefix: str = "swaig_") -> dict[tuple[Any, ...], float]:
    """Return the series in the text format, by name and label values in the order of the names.

    The series of the times at which counters were created are left out.
    """
    from prometheus_client.parser import text_string_to_metric_families

    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(prefix) and not sample.name.endswith("_created")
    }


class Figures:
    """What was counted in this process since the object was made."""

    def __init__(self) -> None:
        self._before = self._read()

    @staticmethod
    def _read() -> dict[tuple[Any, ...], float]:
        from swaig_wsgi._metrics import render

        return series_of(render("")[0].decode())

    def __call__(self, name: str) -> dict[tuple[Any, ...], float]:
        """Return the series of one name that changed, by label values, in the order of labels."""
        found = {}
        for (each, *labels), value in self._read().items():
            difference = value - self._before.get((each, *labels), 0)
            if each == name and difference:
                found[tuple(labels)] = difference
        return found


def names_and_labels() -> dict[str, tuple[str, ...]]:
    """Return the names of all series that the code counts, with the names of their labels."""
    from swaig_wsgi import _metrics

    found: dict[str, tuple[str, ...]] = {}
    for metric in metrics():
        (family,) = metric.describe()
        endings = ["_total"] if family.type == "counter" else ["_bucket", "_count", "_sum"]
        for ending in endings:
            label = ("le",) if ending == "_bucket" else ()
            found[family.name + ending] = (*metric._labelnames, *label)
    assert all(name.startswith("swaig_") for name in found), _metrics
    return found


def metrics() -> list[Any]:
    """Return the metrics that the code defines."""
    from prometheus_client import Counter, Histogram

    from swaig_wsgi import _metrics

    return [each for each in vars(_metrics).values() if isinstance(each, (Counter, Histogram))]
