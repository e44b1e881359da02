"""The grammar of `fixed_costs`: what is paid without a call."""

from __future__ import annotations

from proxy.rules_grammar import Model, key, must
from proxy.rules_terms import Duration, PeriodText
from proxy.rules_values import Amount, Currency, EnvironmentName, Name, Percent, PositiveNumber, Text


class UtilisationSpec(Model):
    """How much of the resource is used, asked of Prometheus: `spendgate recommend` tells when it idles."""

    prometheus: Text = must("Where Prometheus listens: http://prometheus:9090.")
    query: Text = must("PromQL: how much is used now, such as avg(DCGM_FI_DEV_GPU_UTIL).")
    below: PositiveNumber = key(
        "It idles where the mean of seven days is below this, in the query's unit (default 30)."
    )
    timeout: Duration = key("How long to wait for the answer (default 5s).")
    token_env: EnvironmentName = key("Environment variable with a bearer token for Prometheus.")


class SizeSpec(Model):
    """How large the resource is, asked of Prometheus: `spendgate recommend` tells when it grows."""

    prometheus: Text = must("Where Prometheus listens: http://prometheus:9090.")
    query: Text = must("PromQL: how large it is now, in any unit, such as sum(minio_bucket_usage_total_bytes).")
    grows: Percent = key("It grows where it is this many percent larger than thirty days ago (default 10%).")
    timeout: Duration = key("How long to wait for the answer (default 5s).")
    token_env: EnvironmentName = key("Environment variable with a bearer token for Prometheus.")


class FixedCostSpec(Model):
    """A rent: a server, a database plan, a subscription. It accrues by the hour."""

    name: Name = must("Name of the cost, unique in the file.")
    amount: Amount = must("What one period costs.")
    per: PeriodText = key("hour, day, week, month (default) or year.")
    currency: Currency = key("Currency of the amount; without it that of the file.")
    api: Name = key("Counts for this API, too: its budgets, its line in the ledger.")
    utilisation: UtilisationSpec = key("How much of it is used, asked of Prometheus.")
    size: SizeSpec = key("How large it is, asked of Prometheus.")
