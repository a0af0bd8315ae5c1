"""prometheus.py: what GET /metrics says, as Prometheus reads it."""

import pytest

parser = pytest.importorskip("prometheus_client.parser", reason="python3-prometheus-client is not here")


class Metrics:
    def __init__(self, client):
        answer = client.get("/metrics")
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.text = answer.body.decode()
        self.families = list(parser.text_string_to_metric_families(self.text))
        self.samples = {}
        for family in self.families:
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} is there twice"
                self.samples[key] = sample.value

    def value(self, name, **labels):
        return self.samples[name, frozenset(labels.items())]

    def labels(self):
        """Of each sample's name the labels that it may have."""
        found = {}
        for name, labels in self.samples:
            found.setdefault(name, set()).update(name for name, _ in labels)
        return found
