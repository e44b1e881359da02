"""Run the Dockerfile's steps without Docker, then start what they made and ask its health check.

For machines that have no engine, and for the tests. It decides nothing about the image: it reads the Dockerfile, and
does what FROM, COPY, ENV, WORKDIR and RUN say, with the image's root moved to a folder of its own and a fresh virtual
environment in place of the base image's Python. What needs root (accounts, owners) is left out and said.

    python .make/docker_steps.py [--keep FOLDER]
"""

# ruff: noqa: S603 (running the commands that a Dockerfile names is what this is for)
from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGE_PATHS = ("/opt/", "/src", "/dist", "/data", "/etc/spendgate")  # every absolute path the Dockerfile writes to
NEEDS_ROOT = ("groupadd", "useradd")
HEALTHY_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Instruction:
    """One Dockerfile line with its continuations joined: name is upper case, rest is what follows."""

    name: str
    rest: str


@dataclass
class Image:
    """What the steps so far have made: the environment, the working directory, what to run."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    health: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, comments gone. Raises ValueError on a line that is none."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = []
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        name, _, rest = line.partition(" ")
        if not name.isupper():
            raise ValueError(f"not a Dockerfile instruction: {line!r}")
        found.append(Instruction(name, rest.strip()))
    return found


def moved(text: str, root: Path) -> str:
    """`text` with every absolute path of the image moved under `root`."""
    alternatives = "|".join(re.escape(path) for path in IMAGE_PATHS)
    return re.sub(rf"(?<![\w./-])({alternatives})", lambda match: f"{root}{match[1]}", text)


def build(dockerfile: Path, folder: Path, python: str) -> Image:
    """Run every stage in `folder`/root and return the last one. Raises CalledProcessError when a step fails."""
    root = folder / "root"
    image = Image(root)
    stage = ""
    for step in parse(dockerfile.read_text()):
        if step.name == "FROM":
            if root.exists():
                root.rename(folder / f"stage-{stage}")
            stage = step.rest.rpartition(" AS ")[2] if " AS " in step.rest else "final"
            root.mkdir(parents=True)
            image = Image(root, {"PATH": f"{root}/base/bin:/usr/bin:/bin", "HOME": str(root)})
            print(f"FROM {step.rest}", flush=True)
            lay_base(folder / "base", root / "base", python)
        else:
            follow(step, image, folder)
    return image


def lay_base(kept: Path, base: Path, python: str) -> None:
    """A fresh environment with pip at `base`: made once, and `kept` for the stages after the first."""
    if kept.exists():
        shutil.copytree(kept, base, symlinks=True)
    else:
        subprocess.run([python, "-m", "venv", str(base)], check=True)
        shutil.copytree(base, kept, symlinks=True)


def follow(step: Instruction, image: Image, folder: Path) -> None:
    match step.name:
        case "ENV":
            for name, value in re.findall(r"(\w+)=(\S+)", step.rest):
                image.env[name] = re.sub(r"\$(\w+)", lambda m: image.env.get(m[1], ""), moved(value, image.root))
        case "WORKDIR":
            image.workdir = step.rest
            Path(moved(step.rest, image.root)).mkdir(parents=True, exist_ok=True)
        case "COPY":
            copy(step.rest.split(), image, folder)
        case "RUN":
            run(step.rest, image)
        case "HEALTHCHECK":
            image.health = json.loads(step.rest[step.rest.index("CMD ") + 4 :])
        case "ENTRYPOINT":
            image.entrypoint = json.loads(step.rest)
        case "CMD":
            image.command = json.loads(step.rest)
        case "USER" | "VOLUME" | "EXPOSE" | "STOPSIGNAL" | "LABEL":
            pass  # they say how to run the image; nothing to do here
        case _:
            raise ValueError(f".make/docker_steps.py does not know {step.name}")


def copy(words: list[str], image: Image, folder: Path) -> None:
    origin = REPOSITORY
    if words[0].startswith("--from="):
        origin = folder / f"stage-{words.pop(0).removeprefix('--from=')}"
    *sources, target = words
    print(f"COPY {' '.join(words)}", flush=True)
    base = Path(moved(target if target.startswith("/") else f"{image.workdir}/{target}", image.root))
    for source in sources:
        path = origin / source.lstrip("/")
        destination = base / path.name if target.endswith("/") else base
        destination.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            skip = shutil.ignore_patterns("__pycache__", "*.py[co]") if origin == REPOSITORY else None
            shutil.copytree(path, destination, symlinks=True, dirs_exist_ok=True, ignore=skip)
        else:
            shutil.copy2(path, destination)


def run(script: str, image: Image) -> None:
    for command in re.split(r"\s*&&\s*", script):
        if command.split()[0] in NEEDS_ROOT:
            print(f"left out (needs root): {command}", flush=True)
            continue
        if command.startswith("install -d"):
            command = re.sub(r" -[og] \S+", "", command)
        print(f"RUN {command}", flush=True)
        # The download cache is the machine's own, so that a second run is quick.
        env = {**network_settings(), **{k: v for k, v in image.env.items() if k != "PIP_NO_CACHE_DIR"}}
        subprocess.run(
            ["/bin/sh", "-euc", moved(command, image.root)],
            cwd=moved(image.workdir, image.root),
            env={**env, "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))},
            stdout=subprocess.DEVNULL,
            check=True,
        )


def network_settings() -> dict[str, str]:
    """How this machine reaches its package index: pip's own variables and configuration, certificates, proxies."""
    named = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME")
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") or name in named or name.lower().endswith("_proxy")
    }
    own = Path.home() / ".config" / "pip" / "pip.conf"
    return {"PIP_CONFIG_FILE": str(own), **found} if own.exists() else found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(image: Image) -> None:
    """Start the image's program, wait until its health check passes, stop it. Raises SystemExit when it does not."""
    env = image.env | {f"SPENDGATE_{name}": f"127.0.0.1:{free_port()}" for name in ("LISTEN", "ADMIN")}
    command = [moved(word, image.root) for word in image.entrypoint + image.command]
    command[0] = shutil.which(command[0], path=image.env["PATH"]) or command[0]
    health = [shutil.which(image.health[0], path=image.env["PATH"]) or image.health[0], *image.health[1:]]
    workdir = moved(image.workdir, image.root)
    print(f"START {' '.join(image.entrypoint + image.command)}", flush=True)
    log = Path(workdir) / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=workdir, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + HEALTHY_WITHIN_S
        while subprocess.run(health, env=env, cwd=workdir, capture_output=True, check=False).returncode != 0:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the health check never passed; the program said:\n{log.read_text()[-4000:]}")
            time.sleep(0.1)
        print("HEALTHCHECK passed", flush=True)
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        if code != 0:
            raise SystemExit(f"SIGTERM ended it with {code}; it said:\n{log.read_text()[-4000:]}")
        print("SIGTERM ended it with 0", flush=True)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def installed(image: Image) -> set[str]:
    """Names of the distributions that the image's own environment holds."""
    code = "import importlib.metadata as m; print('\\n'.join(d.name for d in m.distributions()))"
    done = subprocess.run(
        [f"{image.root}/opt/spendgate/bin/python", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.lower().split())


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the Dockerfile's steps without Docker.")
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="work in FOLDER and leave it there")
    parser.add_argument("--no-start", action="store_true", help="build only")
    options = parser.parse_args()
    folder: Path = options.keep.resolve() if options.keep else Path(tempfile.mkdtemp(prefix="spendgate-image-"))
    try:
        image = build(REPOSITORY / "Dockerfile", folder, getattr(sys, "_base_executable", sys.executable))
        print(f"INSTALLED {' '.join(sorted(installed(image)))}", flush=True)
        if not options.no_start:
            start(image)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
