"""The grammar of `services`: what stops when the money is short, and how."""

from __future__ import annotations

from typing import Annotated

from proxy.rules_grammar import Model, key, must
from proxy.rules_terms import Duration
from proxy.rules_values import (
    EnvironmentName,
    Flag,
    HeaderName,
    Many,
    Method,
    Name,
    SecretText,
    Text,
    Whole,
    choice,
)


class HttpSpec(Model):
    """URLs that stop and start the service; a 2xx answer is done."""

    stop: Text = must("URL that stops it.")
    start: Text = must("URL that starts it.")
    status: Text = key("URL asked with GET whether it runs: 2xx yes; 404, 410 and 503 no.")
    method: Method = key("Method of stop and start (default POST).")
    headers: dict[HeaderName, SecretText] = key("Headers of every request, with environment variables as ${NAME}.")


class CommandSpec(Model):
    """Programs, run without a shell; exit status 0 is done."""

    stop: list[Text] = must("Program and arguments that stop it.", min_length=1)
    start: list[Text] = must("Program and arguments that start it.", min_length=1)
    status: list[Text] = key("Program and arguments whose exit status 0 means that it runs.", min_length=1)


class DockerSpec(Model):
    """A container, through Docker's socket."""

    container: Text = must("Name or id of the container.")
    socket: Text = key("Docker's socket (default /var/run/docker.sock).")


class SystemdSpec(Model):
    """A unit, through systemctl."""

    unit: Text = must("Name of the unit, such as worker.service.")
    user: Flag = key("The user's own manager: systemctl --user.")


class KubernetesSpec(Model):
    """A deployment or stateful set that is scaled to nothing, through the API server."""

    server: Text = must("Address of the API server: https://10.0.0.1:6443.")
    namespace: Name = key("Its namespace (default: default).")
    kind: Annotated[str, choice("deployment", "statefulset")] = key("deployment (default) or statefulset.")
    name: Name = must("Its name.")
    replicas: Whole = key("Replicas when it runs (default 1).")
    token_env: EnvironmentName = key("Environment variable with a service account's token.")
    ca_file: Text = key("File with the API server's certificate authority.")


class ServiceSpec(Model):
    """A service, and exactly one way to stop and start it."""

    name: Name = must("Name of the service, unique in the file.")
    priority: Annotated[str, choice("essential", "important", "optional")] = must(
        "optional stops at a budget's restrict line (95 %), important at its stop line (100 %), essential never."
    )
    depends_on: Annotated[list[Name], Many()] = key("Services that must run for this one: they stop after it.")
    budget: Annotated[list[Name], Many()] = key("Budgets whose lines count (default: those that count all calls).")
    timeout: Duration = key("How long stopping or starting may take (default 30s).")
    dry_run: Flag = key("Tell and record what would be done, and do not do it.")
    apis: Annotated[list[Name], Many()] = key("Stop the traffic of these APIs.")
    http: HttpSpec = key("Call a URL.")
    command: CommandSpec = key("Run a program.")
    docker: DockerSpec = key("Stop a container.")
    systemd: SystemdSpec = key("Stop a unit.")
    kubernetes: KubernetesSpec = key("Scale to nothing.")
