"""How hard tests push with generated requests."""

from hypothesis import HealthCheck, Phase, settings

bounded = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
"""The same few requests in every run, however slow the machine is."""
